// maxPool2dBackward
// p: lanes: u32, h: u32, w: u32, outH: u32, outW: u32, tapsAcross: u32, divisor: f32, dyAt: u32, tapsAt: u32, dxAt: u32
@group(0) @binding(0) var<storage, read> dy: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> taps: array<u32>;
@group(0) @binding(2) var<storage, read_write> dx: array<vec4<f32>>;
alias T = vec4<f32>;
alias U = vec4<u32>;
alias B = vec4<bool>;
alias S = vec4<f32>;
fn isNan(x: T) -> B { return (bitcast<U>(x) & U(0x7fffffffu)) > U(0x7f800000u); }
fn pack(t: U) -> u32 { return t.x | (t.y << 8u) | (t.z << 16u) | (t.w << 24u); }
fn unpack(t: u32) -> U { return (U(t) >> U(0u, 8u, 16u, 24u)) & U(255u); }
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>) {
  if (gid.x >= ((p.w - 1u + 1u) / 2u + 1u) * p.lanes) { return; }
  let bx = gid.x / p.lanes;
  let lane = gid.x - bx * p.lanes;
  let by = gid.y;
  var sum0_0 = T();
  var sum0_1 = T();
  var sum1_0 = T();
  var sum1_1 = T();
  {
    // Windows outside wrap around to huge numbers.
    let wy = by - 0u; let wx = bx - 0u;
    let inside = wy < p.outH && wx < p.outW;
    let oy = min(wy, p.outH - 1u); let ox = min(wx, p.outW - 1u);
    let at = ((gid.z * p.outH + oy) * p.outW + ox) * p.lanes + lane;
    let g = select(T(), T(dy[p.dyAt + at]), inside); let winner = unpack(taps[p.tapsAt + at]);
    sum0_0 += select(T(), g, winner == U(0u));
    sum0_1 += select(T(), g, winner == U(1u));
    sum1_0 += select(T(), g, winner == U(3u));
    sum1_1 += select(T(), g, winner == U(4u));
  }
  {
    // Windows outside wrap around to huge numbers.
    let wy = by - 0u; let wx = bx - 1u;
    let inside = wy < p.outH && wx < p.outW;
    let oy = min(wy, p.outH - 1u); let ox = min(wx, p.outW - 1u);
    let at = ((gid.z * p.outH + oy) * p.outW + ox) * p.lanes + lane;
    let g = select(T(), T(dy[p.dyAt + at]), inside); let winner = unpack(taps[p.tapsAt + at]);
    sum0_0 += select(T(), g, winner == U(2u));
    sum1_0 += select(T(), g, winner == U(5u));
  }
  {
    // Windows outside wrap around to huge numbers.
    let wy = by - 1u; let wx = bx - 0u;
    let inside = wy < p.outH && wx < p.outW;
    let oy = min(wy, p.outH - 1u); let ox = min(wx, p.outW - 1u);
    let at = ((gid.z * p.outH + oy) * p.outW + ox) * p.lanes + lane;
    let g = select(T(), T(dy[p.dyAt + at]), inside); let winner = unpack(taps[p.tapsAt + at]);
    sum0_0 += select(T(), g, winner == U(6u));
    sum0_1 += select(T(), g, winner == U(7u));
  }
  {
    // Windows outside wrap around to huge numbers.
    let wy = by - 1u; let wx = bx - 1u;
    let inside = wy < p.outH && wx < p.outW;
    let oy = min(wy, p.outH - 1u); let ox = min(wx, p.outW - 1u);
    let at = ((gid.z * p.outH + oy) * p.outW + ox) * p.lanes + lane;
    let g = select(T(), T(dy[p.dyAt + at]), inside); let winner = unpack(taps[p.tapsAt + at]);
    sum0_0 += select(T(), g, winner == U(8u));
  }
  {
    let iy = by * 2u + 0u - 1u; let ix = bx * 2u + 0u - 1u;
    if (iy < p.h && ix < p.w) { dx[p.dxAt + ((gid.z * p.h + iy) * p.w + ix) * p.lanes + lane] = S(sum0_0); }
  }
  {
    let iy = by * 2u + 0u - 1u; let ix = bx * 2u + 1u - 1u;
    if (iy < p.h && ix < p.w) { dx[p.dxAt + ((gid.z * p.h + iy) * p.w + ix) * p.lanes + lane] = S(sum0_1); }
  }
  {
    let iy = by * 2u + 1u - 1u; let ix = bx * 2u + 0u - 1u;
    if (iy < p.h && ix < p.w) { dx[p.dxAt + ((gid.z * p.h + iy) * p.w + ix) * p.lanes + lane] = S(sum1_0); }
  }
  {
    let iy = by * 2u + 1u - 1u; let ix = bx * 2u + 1u - 1u;
    if (iy < p.h && ix < p.w) { dx[p.dxAt + ((gid.z * p.h + iy) * p.w + ix) * p.lanes + lane] = S(sum1_1); }
  }
}
