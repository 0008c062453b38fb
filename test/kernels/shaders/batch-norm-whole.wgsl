// batchNorm
// p: rows: u32, columns: u32, eps: f32, momentum: f32
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> stats: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> gamma: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> beta: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> runningMean: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> runningVar: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read_write> batches: array<i32>;
@compute @workgroup_size(8)
fn main(@builtin(global_invocation_id) gid: vec3<u32>) {
  let column = gid.x;
  if (column >= p.columns) { return; }
  let first = 0u;
  let n = p.rows;
  let pivot = x[column];
  var s0 = vec4<f32>(); var s1 = vec4<f32>(); var q0 = vec4<f32>(); var q1 = vec4<f32>();
  {
    var at = first * p.columns + column;
    var r = 0u;
    for (; r + 2u <= n; r += 2u) {
      let d0 = x[at] - pivot; s0 += d0; q0 += d0 * d0;
      let d1 = x[at + p.columns] - pivot; s1 += d1; q1 += d1 * d1;
      at += 2u * p.columns;
    }
  }
  let count = f32(n);
  let offset = (s0 + s1) / count;
  let mean = pivot + offset;
  let m2 = max((q0 + q1) - (s0 + s1) * offset, vec4<f32>());
  let invstd = vec4<f32>(1.0) / sqrt(m2 / count + p.eps);
  let scale = gamma[column] * invstd;
  let shift = beta[column] - mean * scale;
  stats[column] = mean;
  stats[p.columns + column] = invstd;
  stats[2u * p.columns + column] = scale;
  stats[3u * p.columns + column] = shift;
  runningMean[column] = (1.0 - p.momentum) * runningMean[column] + p.momentum * mean;
  runningVar[column] = (1.0 - p.momentum) * runningVar[column] + p.momentum * (m2 / max(count - 1.0, 1.0));
  if (column == 0u) { batches[0] += 1; }
  var at = first * p.columns + column;
  var r = 0u;
  for (; r + 2u <= n; r += 2u) {
    var v0 = x[at] * scale + shift; v0 = select(v0, vec4<f32>(0.0), v0 < vec4<f32>(0.0)); y[at] = v0;
    var v1 = x[at + p.columns] * scale + shift; v1 = select(v1, vec4<f32>(0.0), v1 < vec4<f32>(0.0)); y[at + p.columns] = v1;
    at += 2u * p.columns;
  }
}
