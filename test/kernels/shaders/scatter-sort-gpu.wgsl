// indexAdd.sort
// p: groups: u32, rows: u32, length: u32, tiles: u32, keep: u32, first: u32, j0O: u32, n0: u32, j0l0: u32
@group(0) @binding(0) var<storage, read> index0: array<i32>;
@group(0) @binding(1) var<storage, read_write> to: array<vec2<u32>>;
var<workgroup> items: array<vec2<u32>, 1024>;
@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
  let cut = (wid.y * nwg.x + wid.x);
  if (cut >= p.groups) { return; }
  let own = lid * 4u;
  for (var i = lid; i < 1024u; i += 256u) {
    let row = cut / p.tiles * 1u + i / 1024u;
    let place = i % 1024u;
    let slot = i;
    let position = cut % p.tiles * 1024u + place;
    var key = 0xffffffffu;
    if (row < p.rows && position < p.length) { var lt = p.first + position;
      let l0 = lt;
      var inside = true;
      var number = 0u;
      let raw0 = index0[p.j0O + l0 * p.j0l0];
      let i0 = select(raw0, raw0 + i32(p.n0), raw0 < 0);
      inside = inside && i0 >= 0 && i0 < i32(p.n0);
      number = number * p.n0 + bitcast<u32>(i0);
      key = select(0xffffffffu, number, inside); }
    items[slot] = vec2<u32>(key, position);
  }
  workgroupBarrier();
  var e0 = items[own + 0u]; var e1 = items[own + 1u]; var e2 = items[own + 2u]; var e3 = items[own + 3u];
  { let swap = (e1.x < e0.x || (e1.x == e0.x && e1.y < e0.y)); let low = select(e0, e1, swap); e1 = select(e1, e0, swap); e0 = low; }
  { let swap = (e3.x < e2.x || (e3.x == e2.x && e3.y < e2.y)); let low = select(e2, e3, swap); e3 = select(e3, e2, swap); e2 = low; }
  { let swap = (e2.x < e0.x || (e2.x == e0.x && e2.y < e0.y)); let low = select(e0, e2, swap); e2 = select(e2, e0, swap); e0 = low; }
  { let swap = (e3.x < e1.x || (e3.x == e1.x && e3.y < e1.y)); let low = select(e1, e3, swap); e3 = select(e3, e1, swap); e1 = low; }
  { let swap = (e2.x < e1.x || (e2.x == e1.x && e2.y < e1.y)); let low = select(e1, e2, swap); e2 = select(e2, e1, swap); e1 = low; }
  items[own + 0u] = e0; items[own + 1u] = e1; items[own + 2u] = e2; items[own + 3u] = e3;
  for (var run = 4u; run < 1024u; run *= 2u) {
    workgroupBarrier();
    let head = own - own % (2u * run);
    let middle = head + run;
    let d = own - head;
    var low = select(0u, d - run, d > run);
    var high = min(d, run);
    while (low < high) {
      let mid = (low + high) / 2u;
      if (items[head + mid].x <= items[middle + d - 1u - mid].x) { low = mid + 1u; } else { high = mid; }
    }
    var a = low;
    var b = d - low;
    { var left = b >= run;
      if (a < run && !left) { left = items[head + a].x <= items[middle + b].x; }
      e0 = items[min(select(middle + b, head + a, left), 1024u - 1u)];
      a += select(0u, 1u, left); b += select(1u, 0u, left); }
    { var left = b >= run;
      if (a < run && !left) { left = items[head + a].x <= items[middle + b].x; }
      e1 = items[min(select(middle + b, head + a, left), 1024u - 1u)];
      a += select(0u, 1u, left); b += select(1u, 0u, left); }
    { var left = b >= run;
      if (a < run && !left) { left = items[head + a].x <= items[middle + b].x; }
      e2 = items[min(select(middle + b, head + a, left), 1024u - 1u)];
      a += select(0u, 1u, left); b += select(1u, 0u, left); }
    { var left = b >= run;
      if (a < run && !left) { left = items[head + a].x <= items[middle + b].x; }
      e3 = items[min(select(middle + b, head + a, left), 1024u - 1u)];
      a += select(0u, 1u, left); b += select(1u, 0u, left); }
    workgroupBarrier();
    items[own + 0u] = e0; items[own + 1u] = e1; items[own + 2u] = e2; items[own + 3u] = e3;
  }
  workgroupBarrier();
  for (var i = lid; i < 1024u; i += 256u) {
    let row = cut / p.tiles * 1u + i / 1024u;
    let place = i % 1024u;
    let slot = i;
    let position = cut % p.tiles * 1024u + place;
    if (row < p.rows && position < p.keep) { let pair = items[slot]; to[row * p.length + position] = pair; }
  }
}
