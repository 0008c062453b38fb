// indexAdd
// p: groups: u32, columns: u32, length: u32, first: u32, tiles: u32, each: u32, targets: u32, srcO: u32, outO: u32, srcc0: u32, srcl0: u32, outc0: u32, g0: u32
@group(0) @binding(0) var<storage, read> pairs: array<vec2<u32>>;
@group(0) @binding(1) var<storage, read> src: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;
@group(0) @binding(3) var<storage, read_write> heads: array<f32>;
@group(0) @binding(4) var<storage, read_write> tails: array<f32>;
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
  let tile = cut % p.tiles;
  let s = lid / 32u; let l = lid % 32u;
  let column = cut / p.tiles * 32u + l;
  let valid = column < p.columns;
  var ct = column;
  let c0 = ct;
  let origin = p.srcO + c0 * p.srcc0;
  let start = p.outO + c0 * p.outc0;
  let list = 0u;
  let base = tile * 8u * p.each;
  let end = min(p.length, base + 8u * p.each);
  let low = min(base + s * p.each, end);
  let high = select(low, min(low + p.each, end), valid);
  var acc = bitcast<f32>(0x80000000u);
  var last = 0xffffffffu;
  var headKey = 0xffffffffu;
  var headSum = acc;
  var hasHead = false;
  var open = false;
  for (var i = low; i < high; i++) {
    let pair = pairs[list + i];
    let before = last;
    last = pair.x;
    var lt = p.first + pair.y;
    let l0 = lt;
    let value = f32(src[origin + l0 * p.srcl0]);
    if (i == low) {
      open = low > 0u && pairs[list + max(low, 1u) - 1u].x == last;
      acc = value;
    } else if (before == last) {
      acc = (acc + value);
    } else {
      if (open) { headKey = before; headSum = acc; hasHead = true; } else { put(before, start, acc); }
      open = false;
      acc = value;
    }
  }
  if (low < high) {
    var closed = high == p.length;
    if (!closed) { closed = pairs[list + high].x != last; }
    if (closed) {
      if (open) { headKey = last; headSum = acc; hasHead = true; } else { put(last, start, acc); }
    }
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
  if (hasHead) {
    let key = headKey;
    var sum = headSum;
    if (s > 0u) { sum = (sums[half + lid - 32u] + sum); }
    if (key == pairs[list + base].x && base > 0u && pairs[list + base - 1u].x == key) {
      heads[tile * p.columns + column] = sum;
    } else { put(key, start, sum); }
  }
  if (s == 0u && valid) { tails[tile * p.columns + column] = sums[half + (end - 1u - base) / p.each * 32u + l]; }
}
