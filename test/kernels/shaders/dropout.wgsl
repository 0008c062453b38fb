// dropout
// p: count: u32, first: u32, seed0: u32, seed1: u32, offset0: u32, offset1: u32, a: f32, b: f32, low: i32, range: u32
enable f16;
@group(0) @binding(0) var<storage, read> x: array<vec4<f16>>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f16>>;
fn mulhi(a: u32, b: u32) -> u32 {
  let al = a & 0xffffu; let ah = a >> 16u; let bl = b & 0xffffu; let bh = b >> 16u;
  let t = ah * bl + ((al * bl) >> 16u);
  return ah * bh + (t >> 16u) + ((al * bh + (t & 0xffffu)) >> 16u);
}
fn random4(i: u32) -> vec4<u32> {
  var c = vec4<u32>(i, 0u, p.offset0, p.offset1);
  var k = vec2<u32>(p.seed0, p.seed1);
  { let high0 = mulhi(0xd2511f53u, c.x); let high1 = mulhi(0xcd9e8d57u, c.z);
    c = vec4<u32>(high1 ^ c.y ^ k.x, 0xcd9e8d57u * c.z, high0 ^ c.w ^ k.y, 0xd2511f53u * c.x);
    k += vec2<u32>(0x9e3779b9u, 0xbb67ae85u); }
  { let high0 = mulhi(0xd2511f53u, c.x); let high1 = mulhi(0xcd9e8d57u, c.z);
    c = vec4<u32>(high1 ^ c.y ^ k.x, 0xcd9e8d57u * c.z, high0 ^ c.w ^ k.y, 0xd2511f53u * c.x);
    k += vec2<u32>(0x9e3779b9u, 0xbb67ae85u); }
  { let high0 = mulhi(0xd2511f53u, c.x); let high1 = mulhi(0xcd9e8d57u, c.z);
    c = vec4<u32>(high1 ^ c.y ^ k.x, 0xcd9e8d57u * c.z, high0 ^ c.w ^ k.y, 0xd2511f53u * c.x);
    k += vec2<u32>(0x9e3779b9u, 0xbb67ae85u); }
  { let high0 = mulhi(0xd2511f53u, c.x); let high1 = mulhi(0xcd9e8d57u, c.z);
    c = vec4<u32>(high1 ^ c.y ^ k.x, 0xcd9e8d57u * c.z, high0 ^ c.w ^ k.y, 0xd2511f53u * c.x);
    k += vec2<u32>(0x9e3779b9u, 0xbb67ae85u); }
  { let high0 = mulhi(0xd2511f53u, c.x); let high1 = mulhi(0xcd9e8d57u, c.z);
    c = vec4<u32>(high1 ^ c.y ^ k.x, 0xcd9e8d57u * c.z, high0 ^ c.w ^ k.y, 0xd2511f53u * c.x);
    k += vec2<u32>(0x9e3779b9u, 0xbb67ae85u); }
  { let high0 = mulhi(0xd2511f53u, c.x); let high1 = mulhi(0xcd9e8d57u, c.z);
    c = vec4<u32>(high1 ^ c.y ^ k.x, 0xcd9e8d57u * c.z, high0 ^ c.w ^ k.y, 0xd2511f53u * c.x);
    k += vec2<u32>(0x9e3779b9u, 0xbb67ae85u); }
  { let high0 = mulhi(0xd2511f53u, c.x); let high1 = mulhi(0xcd9e8d57u, c.z);
    c = vec4<u32>(high1 ^ c.y ^ k.x, 0xcd9e8d57u * c.z, high0 ^ c.w ^ k.y, 0xd2511f53u * c.x);
    k += vec2<u32>(0x9e3779b9u, 0xbb67ae85u); }
  { let high0 = mulhi(0xd2511f53u, c.x); let high1 = mulhi(0xcd9e8d57u, c.z);
    c = vec4<u32>(high1 ^ c.y ^ k.x, 0xcd9e8d57u * c.z, high0 ^ c.w ^ k.y, 0xd2511f53u * c.x);
    k += vec2<u32>(0x9e3779b9u, 0xbb67ae85u); }
  { let high0 = mulhi(0xd2511f53u, c.x); let high1 = mulhi(0xcd9e8d57u, c.z);
    c = vec4<u32>(high1 ^ c.y ^ k.x, 0xcd9e8d57u * c.z, high0 ^ c.w ^ k.y, 0xd2511f53u * c.x);
    k += vec2<u32>(0x9e3779b9u, 0xbb67ae85u); }
  { let high0 = mulhi(0xd2511f53u, c.x); let high1 = mulhi(0xcd9e8d57u, c.z);
    c = vec4<u32>(high1 ^ c.y ^ k.x, 0xcd9e8d57u * c.z, high0 ^ c.w ^ k.y, 0xd2511f53u * c.x);
    k += vec2<u32>(0x9e3779b9u, 0xbb67ae85u); }
  return c;
}
// 24 random bits: every value of [0, 1) is a float32, and 1 is never reached.
fn unit4(bits: vec4<u32>) -> vec4<f32> { return vec4<f32>(bits >> vec4<u32>(8u)) * 5.9604644775390625e-8; }
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let i = (wid.y * nwg.x + wid.x) * 64u + lane;
  if (i >= p.count) { return; }
  let bits = random4(p.first + i);
  let v = vec4<f32>(x[i]) * p.b;
  y[i] = vec4<f16>(select(v, vec4<f32>(), unit4(bits) < vec4<f32>(p.a)));
}
