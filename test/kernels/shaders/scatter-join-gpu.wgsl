// indexAdd.join
// p: groups: u32, columns: u32, length: u32, tiles: u32, each: u32, span: u32, outO: u32, outc0: u32, g0: u32
@group(0) @binding(0) var<storage, read> pairs: array<vec2<u32>>;
@group(0) @binding(1) var<storage, read> heads: array<f32>;
@group(0) @binding(2) var<storage, read> tails: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;
fn put(key: u32, start: u32, value: f32) {
  if (key == 0xffffffffu) { return; }
  var rest = key;
  var position = 0u;
  position += rest * p.g0;
  let at = start + position;
  out[at] = (f32(out[at]) + value);
}
var<workgroup> keys: array<u32, 512>;
var<workgroup> sums: array<f32, 512>;
@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
  let cut = (wid.y * nwg.x + wid.x);
  if (cut >= p.groups) { return; }
  let s = lid / 32u; let l = lid % 32u;
  let column = cut * 32u + l;
  var ct = column;
  let c0 = ct;
  let start = p.outO + c0 * p.outc0;
  let list = 0u;
  let low = min(s * p.each, p.tiles);
  let high = select(low, min(low + p.each, p.tiles), column < p.columns);
  var acc = bitcast<f32>(0x80000000u);
  var last = 0xffffffffu;
  for (var i = low; i < high; i++) {
    let tail = tails[i * p.columns + column];
    let key = pairs[list + min(p.length, (i + 1u) * p.span) - 1u].x;
    if (i > low && key == last) { acc = (acc + tail); } else { acc = tail; }
    last = key;
  }
  keys[lid] = last;
  sums[lid] = acc;
  var half = 0u;
  for (var d = 1u; d < 8u; d *= 2u) {
    workgroupBarrier();
    let mine = keys[half + lid];
    var sum = sums[half + lid];
    if (s >= d) {
      let left = half + lid - d * 32u;
      if (keys[left] == mine) { sum = (sums[left] + sum); }
    }
    half = 256u - half;
    keys[half + lid] = mine;
    sums[half + lid] = sum;
  }
  workgroupBarrier();
  if (s > 0u) { acc = sums[half + lid - 32u]; last = keys[half + lid - 32u]; }
  for (var i = low; i < high; i++) {
    let base = i * p.span;
    let end = min(p.length, base + p.span);
    let key = pairs[list + base].x;
    let tailKey = pairs[list + end - 1u].x;
    if (base > 0u && pairs[list + max(base, 1u) - 1u].x == key) {
      var ends = key != tailKey || end == p.length;
      if (!ends) { ends = pairs[list + end].x != key; }
      if (ends) {
        let head = heads[i * p.columns + column];
        put(key, start, (acc + head));
      }
    }
    let tail = tails[i * p.columns + column];
    if (i > 0u && tailKey == last) { acc = (acc + tail); } else { acc = tail; }
    last = tailKey;
  }
}
