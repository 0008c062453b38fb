// unscale
// p: factor: f32, size0: u32, end0: u32, size1: u32, end1: u32
@group(0) @binding(0) var<storage, read_write> found: array<atomic<i32>>;
@group(0) @binding(1) var<storage, read_write> g0: array<vec4u>;
@group(0) @binding(2) var<storage, read_write> g1: array<vec4u>;
fn bad(bits: vec4u, rest: u32) -> bool {
  let full = (bits & vec4u(0x7f800000u)) == vec4u(0x7f800000u);
  return any(full & (vec4u(0u, 1u, 2u, 3u) < vec4u(rest)));
}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let block = (wid.y * nwg.x + wid.x);
  if (block < p.end0) {
    let at = (block - 0u) * 64u + lane;
    if (4u * at < p.size0) {
      let bits = g0[at];
      if (bad(bits, p.size0 - 4u * at)) { atomicStore(&found[0], 1); }
      g0[at] = bitcast<vec4u>(bitcast<vec4f>(bits) * p.factor);
    }
  } else if (block < p.end1) {
    let at = (block - p.end0) * 64u + lane;
    if (4u * at < p.size1) {
      let bits = g1[at];
      if (bad(bits, p.size1 - 4u * at)) { atomicStore(&found[0], 1); }
      g1[at] = bitcast<vec4u>(bitcast<vec4f>(bits) * p.factor);
    }
  }
}
