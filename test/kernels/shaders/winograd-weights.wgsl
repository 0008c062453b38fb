// winogradWeights
// p: ci: u32, co: u32
@group(0) @binding(0) var<storage, read> weight: array<f32>;
@group(0) @binding(1) var<storage, read_write> packed: array<vec4<f32>>;
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let n = wid.x * 8u + (lane & 7u);
  let k = wid.y * 8u + (lane >> 3u);
  if (n >= p.co / 4u || k >= p.ci) { return; }
  var t0_0 = vec4<f32>(0.0);
  var t0_1 = vec4<f32>(0.0);
  var t0_2 = vec4<f32>(0.0);
  var t0_3 = vec4<f32>(0.0);
  var t0_4 = vec4<f32>(0.0);
  var t0_5 = vec4<f32>(0.0);
  var t1_0 = vec4<f32>(0.0);
  var t1_1 = vec4<f32>(0.0);
  var t1_2 = vec4<f32>(0.0);
  var t1_3 = vec4<f32>(0.0);
  var t1_4 = vec4<f32>(0.0);
  var t1_5 = vec4<f32>(0.0);
  var t2_0 = vec4<f32>(0.0);
  var t2_1 = vec4<f32>(0.0);
  var t2_2 = vec4<f32>(0.0);
  var t2_3 = vec4<f32>(0.0);
  var t2_4 = vec4<f32>(0.0);
  var t2_5 = vec4<f32>(0.0);
  let opaque = nwg.x >> 31u;
  for (var j = opaque; j < 3u + opaque; j++) {
    let d0 = vec4<f32>(f32(weight[((4u * n + 0u) * p.ci + k) * 9u + 0u + j]), f32(weight[((4u * n + 1u) * p.ci + k) * 9u + 0u + j]), f32(weight[((4u * n + 2u) * p.ci + k) * 9u + 0u + j]), f32(weight[((4u * n + 3u) * p.ci + k) * 9u + 0u + j]));
    let d1 = vec4<f32>(f32(weight[((4u * n + 0u) * p.ci + k) * 9u + 3u + j]), f32(weight[((4u * n + 1u) * p.ci + k) * 9u + 3u + j]), f32(weight[((4u * n + 2u) * p.ci + k) * 9u + 3u + j]), f32(weight[((4u * n + 3u) * p.ci + k) * 9u + 3u + j]));
    let d2 = vec4<f32>(f32(weight[((4u * n + 0u) * p.ci + k) * 9u + 6u + j]), f32(weight[((4u * n + 1u) * p.ci + k) * 9u + 6u + j]), f32(weight[((4u * n + 2u) * p.ci + k) * 9u + 6u + j]), f32(weight[((4u * n + 3u) * p.ci + k) * 9u + 6u + j]));
    let pa = (d0 + 2.0 * d2) * 0.3333333333333333;
    let pb = d1 * 0.47140452079103173;
    let pc = (2.0 * d0 + d2) * 0.3333333333333333;
    t0_0 = t1_0;
    t0_1 = t1_1;
    t0_2 = t1_2;
    t0_3 = t1_3;
    t0_4 = t1_4;
    t0_5 = t1_5;
    t1_0 = t2_0;
    t1_1 = t2_1;
    t1_2 = t2_2;
    t1_3 = t2_3;
    t1_4 = t2_4;
    t1_5 = t2_5;
    t2_0 = d0;
    t2_1 = pa + pb;
    t2_2 = pa - pb;
    t2_3 = pc + pb;
    t2_4 = pc - pb;
    t2_5 = d2;
  }
  for (var i = opaque; i < 6u + opaque; i++) {
    let qa = (t0_0 + 2.0 * t2_0) * 0.3333333333333333;
    let qb = t1_0 * 0.47140452079103173;
    let qc = (2.0 * t0_0 + t2_0) * 0.3333333333333333;
    let f0 = t0_0;
    let f1 = qa + qb;
    let f2 = qa - qb;
    let f3 = qc + qb;
    let f4 = qc - qb;
    let f5 = t2_0;
    packed[((i * 6u + 0u) * p.ci + k) * (p.co / 4u) + n] = f0;
    packed[((i * 6u + 1u) * p.ci + k) * (p.co / 4u) + n] = f1;
    packed[((i * 6u + 2u) * p.ci + k) * (p.co / 4u) + n] = f2;
    packed[((i * 6u + 3u) * p.ci + k) * (p.co / 4u) + n] = f3;
    packed[((i * 6u + 4u) * p.ci + k) * (p.co / 4u) + n] = f4;
    packed[((i * 6u + 5u) * p.ci + k) * (p.co / 4u) + n] = f5;
    t0_0 = t0_1;
    t0_1 = t0_2;
    t0_2 = t0_3;
    t0_3 = t0_4;
    t0_4 = t0_5;
    t1_0 = t1_1;
    t1_1 = t1_2;
    t1_2 = t1_3;
    t1_3 = t1_4;
    t1_4 = t1_5;
    t2_0 = t2_1;
    t2_1 = t2_2;
    t2_2 = t2_3;
    t2_3 = t2_4;
    t2_4 = t2_5;
  }
}
