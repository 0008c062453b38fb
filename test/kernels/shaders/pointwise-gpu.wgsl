// sigmoid
// p: nAll: u32
@group(0) @binding(0) var<storage, read> i0: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> o0: array<vec4<f32>>;
fn kIsNan4(x: vec4<f32>) -> vec4<bool> { return (bitcast<vec4<u32>>(x) & vec4<u32>(0x7fffffffu)) > vec4<u32>(0x7f800000u); }
fn kExp4(x: vec4<f32>) -> vec4<f32> {
  let c = clamp(x, vec4<f32>(-105.0f), vec4<f32>(89.0f));
  let n = floor(c * 1.44269504f + 0.5f);
  let r = (c - n * 0.693359375f) + n * 2.12194440e-4f;
  var q = r * 1.9875691500e-4f + 1.3981999507e-3f;
  q = q * r + 8.3334519073e-3f;
  q = q * r + 4.1665795894e-2f;
  q = q * r + 1.6666665459e-1f;
  q = q * r + 5.0000001201e-1f;
  q = (q * r * r + r) + 1.0f;
  let k = vec4<i32>(n);
  let h = k >> vec4<u32>(1u);
  let s = bitcast<vec4<f32>>((h + vec4<i32>(127)) << vec4<u32>(23u)) * q;
  return select(s * bitcast<vec4<f32>>((k - h + vec4<i32>(127)) << vec4<u32>(23u)), x, kIsNan4(x));
}
fn kSigmoid4(x: vec4<f32>) -> vec4<f32> { return 1.0f / (kExp4(-x) + 1.0f); }
@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
  let group = (wid.y * nwg.x + wid.x);
  for (var k = 0u; k < 2u; k++) {
    let i = (group * 2u + k) * 256u + lid;
    if (i < p.nAll) {
      let x0 = i0[i];
      let v0 = kSigmoid4(x0);
      o0[i] = v0;
    }
  }
}
