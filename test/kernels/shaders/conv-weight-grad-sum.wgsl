// convWeightGradSum
// p: taps: u32, tapBlocks: u32, ci: u32, co: u32, splits: u32, first: u32
@group(0) @binding(0) var<storage, read> partials: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> dw: array<f32>;
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let pitch = (p.co + 3u) / 4u;
  let o = wid.x * 8u + (lane & 7u);
  let c = wid.y * 8u + (lane >> 3u);
  if (o >= pitch || c >= p.ci) { return; }
  let group = wid.z / p.tapBlocks;
  let block = p.taps / p.tapBlocks;
  let tap0 = (wid.z - group * p.tapBlocks) * block;
  let part = p.taps * p.ci * pitch;
  let weight = ((group * p.co + 4u * o) * p.ci + c) * p.taps;
  for (var tap = tap0; tap < tap0 + block; tap++) {
    var at = group * p.splits * part + (tap * p.ci + c) * pitch + o;
    var sum = partials[at];
    for (var s = 1u; s < p.splits; s++) {
      at += part;
      sum += partials[at];
    }
    for (var j = 0u; j < min(4u, p.co - 4u * o); j++) {
      let to = weight + j * p.ci * p.taps + tap;
      if (p.first == 1u) { dw[to] = f32(sum[j]); } else { dw[to] = f32(f32(dw[to]) + sum[j]); }
    }
  }
}
