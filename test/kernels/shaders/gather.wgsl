// gather
// p: nAll: u32, n1: u32, i1o: u32, i1s0: u32, i1g0: u32, i1n0: i32
@group(0) @binding(0) var<storage, read> i0: array<vec4<i32>>;
@group(0) @binding(1) var<storage, read> i1: array<f32>;
@group(0) @binding(2) var<storage, read_write> o0: array<vec4<f32>>;
fn kNan4() -> vec4<f32> { var b = 0x7fc00000u; return vec4<f32>(bitcast<f32>(b)); }
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
  let group = (wid.y * nwg.x + wid.x);
  let thread = group * 64u + lid;
  let begin = thread * 4u;
  let end = min(p.nAll, begin + 4u);
  var i = begin;
  var t = i;
  var c1 = t % p.n1; t = t / p.n1;
  var c0 = t;
  for (; i < end; i++) {
    let x0 = i0[i];
    let j1_0n = vec4<i32>(p.i1n0);
    let j1_0 = x0 + select(vec4<i32>(0), j1_0n, x0 < vec4<i32>(0));
    let far1 = bitcast<vec4<u32>>(clamp(j1_0, vec4<i32>(0), j1_0n - 1)) * p.i1g0;
    let b1 = (j1_0 < vec4<i32>(0)) | (j1_0 >= j1_0n);
    let a1 = p.i1o + c0 * p.i1s0;
    let x1 = select(vec4<f32>(i1[a1 + far1.x], i1[a1 + far1.y], i1[a1 + far1.z], i1[a1 + far1.w]), kNan4(), b1);
    o0[i] = x1;
    c1++; if (c1 == p.n1) { c1 = 0u; c0++; }
  }
}
