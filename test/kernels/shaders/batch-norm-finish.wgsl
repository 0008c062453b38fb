// batchNormFinish
// p: channels: u32, blocks: u32, rows: u32, rowsPerBlock: u32, eps: f32, momentum: f32
@group(0) @binding(0) var<storage, read> partials: array<f32>;
@group(0) @binding(1) var<storage, read_write> stats: array<f32>;
@group(0) @binding(2) var<storage, read> gamma: array<f32>;
@group(0) @binding(3) var<storage, read> beta: array<f32>;
@group(0) @binding(4) var<storage, read_write> runningMean: array<f32>;
@group(0) @binding(5) var<storage, read_write> runningVar: array<f32>;
@group(0) @binding(6) var<storage, read_write> batches: array<i32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>) {
  let c = gid.x;
  if (c >= p.channels) { return; }
  // Partials are pairs of lanes of 4: the mean of a block, then its sum of squared deviations.
  let lane = (c / 4u) * 8u + c % 4u;
  var count = 0.0; var mean = 0.0; var m2 = 0.0;
  for (var b = 0u; b < p.blocks; b++) {
    let at = b * p.channels * 2u + lane;
    let n = f32(min(p.rowsPerBlock, p.rows - b * p.rowsPerBlock));
    let delta = partials[at] - mean;
    let total = count + n;
    mean += delta * (n / total);
    m2 += partials[at + 4u] + delta * delta * (count * n / total);
    count = total;
  }
  let variance = m2 / count;
  let invstd = 1.0 / sqrt(variance + p.eps);
  let scale = gamma[c] * invstd;
  stats[c] = mean;
  stats[p.channels + c] = invstd;
  stats[2u * p.channels + c] = scale;
  stats[3u * p.channels + c] = beta[c] - mean * scale;
  runningMean[c] = (1.0 - p.momentum) * runningMean[c] + p.momentum * mean;
  runningVar[c] = (1.0 - p.momentum) * runningVar[c] + p.momentum * (m2 / max(count - 1.0, 1.0));
  if (c == 0u) { batches[0] += 1; }
}
