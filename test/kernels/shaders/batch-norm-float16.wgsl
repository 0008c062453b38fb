// batchNormMoments
// p: rows: u32, columns: u32, rowsPerBlock: u32, firstBlock: u32
enable f16;
@group(0) @binding(0) var<storage, read> x: array<vec4<f16>>;
@group(0) @binding(1) var<storage, read_write> partials: array<vec4<f32>>;
var<workgroup> sums: array<vec4<f32>, 512>;
@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
  let column = wid.x * 8u + lid % 8u;
  let member = lid / 8u;
  let block = wid.y;
  let first = block * p.rowsPerBlock;
  let last = select(first, min(first + p.rowsPerBlock, p.rows), column < p.columns);
  let n = last - first;
  let pivot = vec4<f32>(x[first * p.columns + min(column, p.columns - 1u)]);
  var s0 = vec4<f32>(); var s1 = vec4<f32>(); var q0 = vec4<f32>(); var q1 = vec4<f32>();
  var at = (first + member) * p.columns + column;
  var r = member;
  for (; r + 96u < n; r += 128u) {
    let a = vec4<f32>(x[at]) - pivot;
    let b = vec4<f32>(x[at + 32u * p.columns]) - pivot;
    let c = vec4<f32>(x[at + 64u * p.columns]) - pivot;
    let d = vec4<f32>(x[at + 96u * p.columns]) - pivot;
    s0 += a + b; s1 += c + d;
    q0 += a * a + b * b; q1 += c * c + d * d;
    at += 128u * p.columns;
  }
  for (; r < n; r += 32u) {
    let a = vec4<f32>(x[at]) - pivot;
    s0 += a; q0 += a * a;
    at += 32u * p.columns;
  }
  var s = s0 + s1; var q = q0 + q1;
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
    let count = f32(n);
    let mean = s / count;
    let to = ((p.firstBlock + block) * p.columns + column) * 2u;
    partials[to] = pivot + mean;
    partials[to + 1u] = max(q - s * mean, vec4<f32>());
  }
}
