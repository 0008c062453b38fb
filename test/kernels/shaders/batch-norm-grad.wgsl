// batchNormGradSums
// p: rows: u32, columns: u32, rowsPerBlock: u32, firstBlock: u32
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> dy: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> stats: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> partials: array<vec4<f32>>;
@compute @workgroup_size(16)
fn main(@builtin(global_invocation_id) gid: vec3<u32>) {
  let column = gid.x;
  let block = gid.y;
  if (column >= p.columns) { return; }
  let first = block * p.rowsPerBlock;
  let last = min(first + p.rowsPerBlock, p.rows);
  let n = last - first;
  let mean = stats[column];
  let scale = stats[2u * p.columns + column];
  let shift = stats[3u * p.columns + column];
  var s0 = vec4<f32>(); var s1 = vec4<f32>(); var q0 = vec4<f32>(); var q1 = vec4<f32>();
  var at = first * p.columns + column;
  var r = 0u;
  for (; r + 2u <= n; r += 2u) {
    let x0 = x[at]; var g0 = dy[at]; let v0 = x0 * scale + shift; g0 = select(vec4<f32>(), g0, v0 > vec4<f32>()); s0 += g0; q0 += g0 * (x0 - mean);
    let x1 = x[at + p.columns]; var g1 = dy[at + p.columns]; let v1 = x1 * scale + shift; g1 = select(vec4<f32>(), g1, v1 > vec4<f32>()); s1 += g1; q1 += g1 * (x1 - mean);
    at += 2u * p.columns;
  }
  if (r < n) {
    let x0 = x[at]; var g0 = dy[at]; let v0 = x0 * scale + shift; g0 = select(vec4<f32>(), g0, v0 > vec4<f32>()); s0 += g0; q0 += g0 * (x0 - mean);
  }
  let to = ((p.firstBlock + block) * p.columns + column) * 2u;
  partials[to] = s0 + s1;
  partials[to + 1u] = q0 + q1;
}
