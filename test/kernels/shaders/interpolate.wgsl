// interpolate
// p: lanes: u32, h: u32, w: u32, outH: u32, outW: u32, scaleH: f32, scaleW: f32, xAt: u32, yAt: u32
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;
alias T = vec4<f32>;
alias U = vec4<u32>;
alias B = vec4<bool>;
alias S = vec4<f32>;
fn isNan(x: T) -> B { return (bitcast<U>(x) & U(0x7fffffffu)) > U(0x7f800000u); }
fn pack(t: U) -> u32 { return t.x | (t.y << 8u) | (t.z << 16u) | (t.w << 24u); }
fn unpack(t: u32) -> U { return (U(t) >> U(0u, 8u, 16u, 24u)) & U(255u); }
struct Source { low: u32, high: u32, mix: f32 }
fn sourceOf(i: u32, size: u32, scale: f32) -> Source {
  let at = max((f32(i) + 0.5) * scale - 0.5, 0.0);
  let low = min(u32(floor(at)), size - 1u);
  return Source(low, min(low + 1u, size - 1u), clamp(at - f32(low), 0.0, 1.0));
}
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>) {
  if (gid.x >= p.outW * p.lanes) { return; }
  let ox = gid.x / p.lanes;
  let lane = gid.x - ox * p.lanes;
  let oy = gid.y;
  let sy = sourceOf(oy, p.h, p.scaleH);
  let sx = sourceOf(ox, p.w, p.scaleW);
  y[p.yAt + ((gid.z * p.outH + oy) * p.outW + ox) * p.lanes + lane] = S((1.0 - sy.mix) * ((1.0 - sx.mix) * T(x[p.xAt + ((gid.z * p.h + sy.low) * p.w + sx.low) * p.lanes + lane]) + sx.mix * T(x[p.xAt + ((gid.z * p.h + sy.low) * p.w + sx.high) * p.lanes + lane]))
  + sy.mix * ((1.0 - sx.mix) * T(x[p.xAt + ((gid.z * p.h + sy.high) * p.w + sx.low) * p.lanes + lane]) + sx.mix * T(x[p.xAt + ((gid.z * p.h + sy.high) * p.w + sx.high) * p.lanes + lane])));
}
