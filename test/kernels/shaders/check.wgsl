// embedding.check
// p: count: u32, offset: u32, first: u32, size: u32
@group(0) @binding(0) var<storage, read> x: array<i32>;
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
  let i = (wid.y * nwg.x + wid.x) * 64u + lid;
  if (i >= p.count) { return; }
  let at = p.first + i;
  let v = x[p.offset + i];
  if (u32(v) >= p.size) { raiseFault(vec4<u32>(u32(v), p.size, 0u, 0u)); }
}
