// batchNormGradSums
// p: rows: u32, columns: u32, rowsPerBlock: u32, firstBlock: u32
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> dy: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> stats: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> partials: array<vec4<f32>>;
var<workgroup> sums: array<vec4<f32>, 512>;
@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
  let column = wid.x * 8u + lid % 8u;
  let member = lid / 8u;
  let block = wid.y;
  let first = block * p.rowsPerBlock;
  let last = select(first, min(first + p.rowsPerBlock, p.rows), column < p.columns);
  let n = last - first;
  let mean = stats[column];
  let scale = stats[2u * p.columns + column];
  let shift = stats[3u * p.columns + column];
  var s0 = vec4<f32>(); var s1 = vec4<f32>(); var q0 = vec4<f32>(); var q1 = vec4<f32>();
  var at = (first + member) * p.columns + column;
  var r = member;
  for (; r + 32u < n; r += 64u) {
    let x0 = x[at]; var g0 = dy[at]; let v0 = x0 * scale + shift; g0 = select(vec4<f32>(), g0, v0 > vec4<f32>()); s0 += g0; q0 += g0 * (x0 - mean);
    let x1 = x[at + 32u * p.columns]; var g1 = dy[at + 32u * p.columns]; let v1 = x1 * scale + shift; g1 = select(vec4<f32>(), g1, v1 > vec4<f32>()); s1 += g1; q1 += g1 * (x1 - mean);
    at += 64u * p.columns;
  }
  if (r < n) {
    let x0 = x[at]; var g0 = dy[at]; let v0 = x0 * scale + shift; g0 = select(vec4<f32>(), g0, v0 > vec4<f32>()); s0 += g0; q0 += g0 * (x0 - mean);
  }
  var s = s0 + s1;
  var q = q0 + q1;
  sums[2u * lid] = s; sums[2u * lid + 1u] = q;
  workgroupBarrier();
  for (var h = 16u; h > 0u; h = h >> 1u) {
    if (member < h) {
      s += sums[2u * (lid + h * 8u)]; q += sums[2u * (lid + h * 8u) + 1u];
      sums[2u * lid] = s; sums[2u * lid + 1u] = q;
    }
    workgroupBarrier();
  }
  if (member == 0u && n > 0u) {
    let to = ((p.firstBlock + block) * p.columns + column) * 2u;
    partials[to] = s;
    partials[to + 1u] = q;
  }
}
