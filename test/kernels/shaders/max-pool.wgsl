// maxPool2d
// p: lanes: u32, h: u32, w: u32, outH: u32, outW: u32, tapsAcross: u32, divisor: f32, xAt: u32, yAt: u32, tapsAt: u32
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> taps: array<u32>;
alias T = vec4<f32>;
alias U = vec4<u32>;
alias B = vec4<bool>;
alias S = vec4<f32>;
fn isNan(x: T) -> B { return (bitcast<U>(x) & U(0x7fffffffu)) > U(0x7f800000u); }
fn pack(t: U) -> u32 { return t.x | (t.y << 8u) | (t.z << 16u) | (t.w << 24u); }
fn unpack(t: u32) -> U { return (U(t) >> U(0u, 8u, 16u, 24u)) & U(255u); }
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) gid: vec3<u32>) {
  if (gid.x >= p.outW * p.lanes) { return; }
  let ox = gid.x / p.lanes;
  let lane = gid.x - ox * p.lanes;
  let oy = gid.y;
  var lowest = 0xff800000u;
  let firsty = i32(oy) * 2 - 1;
  let ky0 = (max(0, -firsty) + 0) / 1;
  let ys = firsty + ky0 * 1;
  let ye = min(i32(p.h), firsty + 3);
  let firstx = i32(ox) * 2 - 1;
  let kx0 = (max(0, -firstx) + 0) / 1;
  let xs = firstx + kx0 * 1;
  let xe = min(i32(p.w), firstx + 3);
  var best = T(bitcast<f32>(lowest)); var tap = U(u32(ky0) * p.tapsAcross + u32(kx0));
  var ky = ky0;
  for (var iy = ys; iy < ye; iy += 1) {
    let row = p.xAt + (gid.z * p.h + u32(iy)) * p.w * p.lanes + lane;
    var tapInWindow = u32(ky) * p.tapsAcross + u32(kx0);
    for (var ix = xs; ix < xe; ix += 1) {
      let v = T(x[row + u32(ix) * p.lanes]);
      let won = (v > best) | isNan(v); best = select(best, v, won); tap = select(tap, U(tapInWindow), won);
      tapInWindow++;
    }
    ky++;
  }
  let to = ((gid.z * p.outH + oy) * p.outW + ox) * p.lanes + lane;
  y[p.yAt + to] = S(best);
  taps[p.tapsAt + to] = pack(tap);
}
