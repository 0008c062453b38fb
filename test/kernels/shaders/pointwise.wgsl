// scaled
// p: shift: f32, nAll: u32, n1: u32, i1o: u32, i1s0: u32, i1s1: u32, i2o: u32
@group(0) @binding(0) var<storage, read> i0: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> i1: array<f32>;
@group(0) @binding(2) var<storage, read> i2: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> o0: array<vec4<f32>>;
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
    let a1 = p.i1o + c0 * p.i1s0 + 4u * c1 * p.i1s1;
    let x1 = vec4<f32>(i1[a1], i1[a1 + p.i1s1], i1[a1 + 2u * p.i1s1], i1[a1 + 3u * p.i1s1]);
    let x2 = i2[p.i2o + c1];
    let v0 = x0 - x1;
    let v1 = x2 - vec4<f32>(p.shift);
    let v2 = v0 / v1;
    o0[i] = v2;
    c1++; if (c1 == p.n1) { c1 = 0u; c0++; }
  }
}
