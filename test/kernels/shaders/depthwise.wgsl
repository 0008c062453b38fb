// depthwise
// p: count: u32, channels: u32, multiplier: u32, inH: u32, inW: u32, outH: u32, outW: u32, kernel: i32, stride: i32, dilation: i32, pad: i32, xOff: u32, yOff: u32
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> w: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let index = (wid.y * nwg.x + wid.x) * 64u + lane;
  if (index >= p.count) { return; }
  let blocks = (p.outW + 3u) / 4u;
  let c = index % p.channels;
  let pixel = index / p.channels;
  let line = pixel / blocks;
  let ow = (pixel - line * blocks) * 4u;
  let img = line / p.outH;
  let oh = line - img * p.outH;
  let inPitch = p.channels / p.multiplier;
  let h0 = i32(oh) * (p.stride >> 16u) - (p.pad >> 16u);
  let w0 = i32(ow) * extractBits(p.stride, 0u, 16u) - extractBits(p.pad, 0u, 16u);
  var s0 = vec4<f32>(0.0);
  var s1 = vec4<f32>(0.0);
  var s2 = vec4<f32>(0.0);
  var s3 = vec4<f32>(0.0);
  for (var th = 0; th < (p.kernel >> 16u); th++) {
    let h_ = h0 + th * (p.dilation >> 16u);
    let okh = u32(h_) < p.inH;
    let row = p.xOff / 4u + (img * p.inH + select(0u, u32(h_), okh)) * p.inW * inPitch + c / p.multiplier;
    let x0 = select(vec4<f32>(0.0), x[row + u32(clamp(w0 + 0, 0, i32(p.inW) - 1)) * inPitch], okh & (w0 + 0 >= 0) & (w0 + 0 < i32(p.inW)));
    let x1 = select(vec4<f32>(0.0), x[row + u32(clamp(w0 + 1, 0, i32(p.inW) - 1)) * inPitch], okh & (w0 + 1 >= 0) & (w0 + 1 < i32(p.inW)));
    let x2 = select(vec4<f32>(0.0), x[row + u32(clamp(w0 + 2, 0, i32(p.inW) - 1)) * inPitch], okh & (w0 + 2 >= 0) & (w0 + 2 < i32(p.inW)));
    let x3 = select(vec4<f32>(0.0), x[row + u32(clamp(w0 + 3, 0, i32(p.inW) - 1)) * inPitch], okh & (w0 + 3 >= 0) & (w0 + 3 < i32(p.inW)));
    let x4 = select(vec4<f32>(0.0), x[row + u32(clamp(w0 + 4, 0, i32(p.inW) - 1)) * inPitch], okh & (w0 + 4 >= 0) & (w0 + 4 < i32(p.inW)));
    let x5 = select(vec4<f32>(0.0), x[row + u32(clamp(w0 + 5, 0, i32(p.inW) - 1)) * inPitch], okh & (w0 + 5 >= 0) & (w0 + 5 < i32(p.inW)));
    let k0 = w[(u32(th) * 3u + 0u) * p.channels + c];
    s0 = fma(x0, k0, s0);
    s1 = fma(x1, k0, s1);
    s2 = fma(x2, k0, s2);
    s3 = fma(x3, k0, s3);
    let k1 = w[(u32(th) * 3u + 1u) * p.channels + c];
    s0 = fma(x1, k1, s0);
    s1 = fma(x2, k1, s1);
    s2 = fma(x3, k1, s2);
    s3 = fma(x4, k1, s3);
    let k2 = w[(u32(th) * 3u + 2u) * p.channels + c];
    s0 = fma(x2, k2, s0);
    s1 = fma(x3, k2, s1);
    s2 = fma(x4, k2, s2);
    s3 = fma(x5, k2, s3);
  }
  if (ow + 0u < p.outW) { var v = s0; y[p.yOff / 4u + (line * p.outW + ow + 0u) * p.channels + c] = v; }
  if (ow + 1u < p.outW) { var v = s1; y[p.yOff / 4u + (line * p.outW + ow + 1u) * p.channels + c] = v; }
  if (ow + 2u < p.outW) { var v = s2; y[p.yOff / 4u + (line * p.outW + ow + 2u) * p.channels + c] = v; }
  if (ow + 3u < p.outW) { var v = s3; y[p.yOff / 4u + (line * p.outW + ow + 3u) * p.channels + c] = v; }
}
