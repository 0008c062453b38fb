// sort
// p: groups: u32, length: u32, tiles: u32, keep: u32, run: u32, row0: u32, xo: u32, xl: u32, xs0: u32, vo: u32, vl: u32, vs0: u32, jo: u32, jl: u32, js0: u32
@group(0) @binding(0) var<storage, read> source: array<vec2<u32>>;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> values: array<f32>;
@group(0) @binding(3) var<storage, read_write> indices: array<i32>;
var<workgroup> items: array<vec2<u32>, 1024>;
@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
  let cut = (wid.y * nwg.x + wid.x);
  if (cut >= p.groups) { return; }
  let own = lid * 4u;
  let row = cut / p.tiles;
  let line = row * p.length;
  let first = cut % p.tiles * 1024u;
  let count = min(1024u, p.length - first);
  let begin = first - first % (2u * p.run);
  let second = min(begin + p.run, p.length);
  let end = min(begin + 2u * p.run, p.length);
  if (lid < 2u) {
    let d = first - begin + lid * count;
    var low = select(0u, d - (end - second), d > (end - second));
    var high = min(d, (second - begin));
    while (low < high) {
      let mid = (low + high) / 2u;
      if (source[line + begin + mid].x <= source[line + second + d - 1u - mid].x) { low = mid + 1u; } else { high = mid; }
    }
    items[lid].x = low;
  }
  workgroupBarrier();
  let skip = items[0].x;
  let middle = items[1].x - skip;
  workgroupBarrier();
  for (var i = lid; i < count; i += 256u) {
    let other = second + (first - begin - skip) + i - middle;
    items[i] = source[line + select(other, begin + skip + i, i < middle)];
  }
  workgroupBarrier();
  let head = 0u;
  let d = min(own, count);
  var low = select(0u, d - (count - middle), d > (count - middle));
  var high = min(d, middle);
  while (low < high) {
    let mid = (low + high) / 2u;
    if (items[mid].x <= items[middle + d - 1u - mid].x) { low = mid + 1u; } else { high = mid; }
  }
  var a = low;
  var b = d - low;
  var e0 = vec2<u32>(); var e1 = vec2<u32>(); var e2 = vec2<u32>(); var e3 = vec2<u32>();
  { var left = b >= count - middle;
    if (a < middle && !left) { left = items[head + a].x <= items[middle + b].x; }
    e0 = items[min(select(middle + b, head + a, left), 1024u - 1u)];
    a += select(0u, 1u, left); b += select(1u, 0u, left); }
  { var left = b >= count - middle;
    if (a < middle && !left) { left = items[head + a].x <= items[middle + b].x; }
    e1 = items[min(select(middle + b, head + a, left), 1024u - 1u)];
    a += select(0u, 1u, left); b += select(1u, 0u, left); }
  { var left = b >= count - middle;
    if (a < middle && !left) { left = items[head + a].x <= items[middle + b].x; }
    e2 = items[min(select(middle + b, head + a, left), 1024u - 1u)];
    a += select(0u, 1u, left); b += select(1u, 0u, left); }
  { var left = b >= count - middle;
    if (a < middle && !left) { left = items[head + a].x <= items[middle + b].x; }
    e3 = items[min(select(middle + b, head + a, left), 1024u - 1u)];
    a += select(0u, 1u, left); b += select(1u, 0u, left); }
  workgroupBarrier();
  items[own + 0u] = e0; items[own + 1u] = e1; items[own + 2u] = e2; items[own + 3u] = e3;
  workgroupBarrier();
  for (var i = lid; i < count; i += 256u) {
    let position = first + i;
    if (position < p.keep) { let pair = items[i]; var t = p.row0 + row;
      let c0 = t;
      let xLine = p.xo + c0 * p.xs0;
      let vLine = p.vo + c0 * p.vs0;
      let jLine = p.jo + c0 * p.js0;
      values[vLine + position * p.vl] = x[xLine + pair.y * p.xl];
      indices[jLine + position * p.jl] = i32(pair.y); }
  }
}
