// batchNormMoments
// p: rows: u32, columns: u32, rowsPerBlock: u32, firstBlock: u32
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> partials: array<vec4<f32>>;
@compute @workgroup_size(16)
fn main(@builtin(global_invocation_id) gid: vec3<u32>) {
  let column = gid.x;
  let block = gid.y;
  if (column >= p.columns) { return; }
  let first = block * p.rowsPerBlock;
  let last = min(first + p.rowsPerBlock, p.rows);
  let n = last - first;
  let pivot = x[first * p.columns + column];
  var s0 = vec4<f32>(); var s1 = vec4<f32>(); var q0 = vec4<f32>(); var q1 = vec4<f32>();
  var at = first * p.columns + column;
  var r = 0u;
  for (; r + 4u <= n; r += 4u) {
    let a = x[at] - pivot;
    let b = x[at + p.columns] - pivot;
    let c = x[at + 2u * p.columns] - pivot;
    let d = x[at + 3u * p.columns] - pivot;
    s0 += a + b; s1 += c + d;
    q0 += a * a + b * b; q1 += c * c + d * d;
    at += 4u * p.columns;
  }
  for (; r < n; r++) {
    let a = x[at] - pivot;
    s0 += a; q0 += a * a;
    at += p.columns;
  }
  let s = s0 + s1;
  let count = f32(n);
  let mean = s / count;
  let to = ((p.firstBlock + block) * p.columns + column) * 2u;
  partials[to] = pivot + mean;
  partials[to + 1u] = max((q0 + q1) - s * mean, vec4<f32>());
}
