// convPackWeights
// p: k: u32, n: u32, taps: i32, first: i32, step: i32, kernelW: i32, outOff: u32, kStride: u32, nStride: u32, tapStride: u32, groupStride: u32
@group(0) @binding(0) var<storage, read> w: array<f32>;
@group(0) @binding(1) var<storage, read_write> packed: array<vec4<f32>>;
fn base(group: u32, k: u32, n: u32) -> u32 {
  return group * p.groupStride + min(k, p.k - 1u) * p.kStride + min(n, p.n - 1u) * p.nStride;
}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let nPitch = (p.n + 3u) / 4u;
  let kPad = (p.k + 3u) & ~3u;
  let n = wid.x * 8u + (lane & 7u);
  let k = wid.y * 8u + (lane >> 3u);
  if (n >= nPitch || k >= kPad) { return; }
  let at = vec4<u32>(base(wid.z, k, 4u * n), base(wid.z, k, 4u * n + 1u), base(wid.z, k, 4u * n + 2u), base(wid.z, k, 4u * n + 3u));
  let inside = (vec4<u32>(4u * n) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(p.n)) & vec4<bool>(k < p.k);
  let count = u32((p.taps >> 16u) * extractBits(p.taps, 0u, 16u));
  var to = p.outOff / 4u + (wid.z * count * kPad + k) * nPitch + n;
  for (var th = 0; th < (p.taps >> 16u); th++) {
    for (var tw = 0; tw < extractBits(p.taps, 0u, 16u); tw++) {
      let tap = p.tapStride * u32(((p.first >> 16u) + th * (p.step >> 16u)) * p.kernelW + extractBits(p.first, 0u, 16u) + tw * extractBits(p.step, 0u, 16u));
      let v = vec4<f32>(w[at.x + tap], w[at.y + tap], w[at.z + tap], w[at.w + tap]);
      packed[to] = select(vec4<f32>(0.0), v, inside);
      to += kPad * nPitch;
    }
  }
}
