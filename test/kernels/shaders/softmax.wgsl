// softmax
// p: rows: u32, lanes: u32
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;
fn isNan(x: f32) -> bool { return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u; }
fn nan() -> f32 { var bits = 0x7fc00000u; return bitcast<f32>(bits); }
fn lowest() -> f32 { return -3.402823466e+38; }
fn across(v: vec4<f32>) -> f32 { return (v.x + v.y) + (v.z + v.w); }
fn top(v: vec4<f32>) -> f32 { return max(max(v.x, v.y), max(v.z, v.w)); }
var<workgroup> joined: array<f32, 64>;
fn total(v: f32, lid: u32) -> f32 {
  let t = lid % 16u;
  joined[lid] = v; workgroupBarrier();
  for (var s = 8u; s > 0u; s >>= 1u) {
    if (t < s) { joined[lid] = joined[lid] + joined[lid + s]; }
    workgroupBarrier();
  }
  let r = joined[lid - t]; workgroupBarrier();
  return r;
}
fn largest(v: f32, lid: u32) -> f32 {
  let t = lid % 16u;
  joined[lid] = v; workgroupBarrier();
  for (var s = 8u; s > 0u; s >>= 1u) {
    if (t < s) { joined[lid] = max(joined[lid], joined[lid + s]); }
    workgroupBarrier();
  }
  let r = joined[lid - t]; workgroupBarrier();
  return r;
}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
  let row = (wid.y * nwg.x + wid.x) * 4u + lid / 16u;
  let t = lid % 16u;
  // Threads without a row meet the barriers.
  let live = row < p.rows;
  let lanes = select(0u, p.lanes, live);
  let base = row * p.lanes;
  var best = vec4<f32>(lowest());
  for (var i = t; i < lanes; i += 16u) { best = max(best, x[base + i]); }
  let m = largest(top(best), lid);
  var acc = vec4<f32>(0.0);
  for (var i = t; i < lanes; i += 16u) { acc += exp(x[base + i] - vec4<f32>(m)); }
  let z = total(across(acc), lid);
  for (var i = t; i < lanes; i += 16u) { y[base + i] = exp(x[base + i] - vec4<f32>(m)) / z; }
}
