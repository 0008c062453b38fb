// batchNormFinish
// p: channels: u32, blocks: u32, rows: u32, rowsPerBlock: u32, eps: f32, momentum: f32
@group(0) @binding(0) var<storage, read> partials: array<f32>;
@group(0) @binding(1) var<storage, read_write> stats: array<f32>;
@group(0) @binding(2) var<storage, read> gamma: array<f32>;
@group(0) @binding(3) var<storage, read> beta: array<f32>;
@group(0) @binding(4) var<storage, read_write> runningMean: array<f32>;
@group(0) @binding(5) var<storage, read_write> runningVar: array<f32>;
@group(0) @binding(6) var<storage, read_write> batches: array<i32>;
var<workgroup> joined: array<vec3<f32>, 256>;
@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
  let own = wid.x * 8u + lid % 8u;
  let member = lid / 8u;
  // Threads without a channel meet the barriers.
  let c = min(own, p.channels - 1u);
  // Partials are pairs of lanes of 4: the mean of a block, then its sum of squared deviations.
  let lane = (c / 4u) * 8u + c % 4u;
  var count = 0.0; var mean = 0.0; var m2 = 0.0;
  for (var b = member; b < p.blocks; b += 32u) {
    let at = b * p.channels * 2u + lane;
    let n = f32(min(p.rowsPerBlock, p.rows - b * p.rowsPerBlock));
    let delta = partials[at] - mean;
    let total = count + n;
    mean += delta * (n / total);
    m2 += partials[at + 4u] + delta * delta * (count * n / total);
    count = total;
  }
  joined[lid] = vec3<f32>(count, mean, m2);
  workgroupBarrier();
  for (var h = 16u; h > 0u; h = h >> 1u) {
    if (member < h) {
      let other = joined[lid + h * 8u];
      if (other.x > 0.0) {
        let total = count + other.x;
        let delta = other.y - mean;
        mean += delta * (other.x / total);
        m2 += other.z + delta * delta * (count * other.x / total);
        count = total;
      }
      joined[lid] = vec3<f32>(count, mean, m2);
    }
    workgroupBarrier();
  }
  if (member == 0u && own < p.channels) {
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
}
