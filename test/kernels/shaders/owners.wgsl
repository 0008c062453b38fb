// owners
// p: places: u32, entries: u32
@group(0) @binding(0) var<storage, read> ends: array<i32>;
@group(0) @binding(1) var<storage, read_write> out: array<i32>;
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
  let place = (wid.y * nwg.x + wid.x) * 64u + lid;
  if (place >= p.places) { return; }
  var low = 0u;
  var high = p.entries;
  while (low < high) {
    let middle = (low + high) / 2u;
    if (ends[middle] > i32(place)) { high = middle; } else { low = middle + 1u; }
  }
  out[place] = select(i32(low), -1, low == p.entries);
}
