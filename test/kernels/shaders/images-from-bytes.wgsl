// imagesToTensor
// p: items: u32, outH: u32, outW: u32, placesAt: u32, bytesFrom: u32, yAt: u32
@group(0) @binding(0) var<storage, read> head: array<u32>;
@group(0) @binding(1) var<storage, read> bytes: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<u32>>;
const channels = 3u;
struct Row { start: u32, width: u32, left: u32, fill: u32, inside: bool, mirrored: bool }
// The bits of element i of a row of the result. Columns left of the image are large numbers.
fn valueAt(row: Row, i: u32) -> u32 {
  let across = i / channels;
  let channel = i - across * channels;
  let x = select(across, p.outW - 1u - across, row.mirrored) + row.left;
  var byte = (row.fill >> (8u * channel)) & 255u;
  if (row.inside && x < row.width) {
    let at = row.start + x * channels + channel;
    byte = (bytes[at >> 2u] >> (8u * (at & 3u))) & 255u;
  }
  return head[channel * 256u + byte];
}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
  let item = (wid.y * nwg.x + wid.x) * 64u + lid;
  if (item >= p.items * p.outH) { return; }
  let down = item / p.items;
  let first = (item - down * p.items) * 4u;
  let place = p.placesAt + wid.z * 8u;
  let flags = head[place + 5u];
  let sourceY = select(down, p.outH - 1u - down, (flags & 2u) != 0u) + head[place + 3u];
  let sourceWidth = head[place + 2u];
  let row = Row(head[place] - p.bytesFrom + sourceY * sourceWidth * channels, sourceWidth, head[place + 4u],
  head[place + 6u], sourceY < head[place + 1u], (flags & 1u) != 0u);
  y[p.yAt + wid.z * p.items * p.outH + item] = vec4<u32>(valueAt(row, first + 0u), valueAt(row, first + 1u), valueAt(row, first + 2u), valueAt(row, first + 3u));
}
