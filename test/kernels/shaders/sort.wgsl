// sort
// p: cells: u32, length: u32, row0: u32, xo: u32, xl: u32, xs0: u32
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> to: array<vec2<u32>>;
fn kOrderF(x: f32) -> u32 {
  let b = bitcast<u32>(select(x, f32(0.0f), x == f32(0.0f)));
  let k = select(b | u32(0x80000000u), ~b, b >= u32(0x80000000u));
  return select(k, u32(0xffffffffu), (b & u32(0x7fffffffu)) > u32(0x7f800000u));
}
@compute @workgroup_size(16)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
  let cell = (wid.y * nwg.x + wid.x) * 16u + lid;
  if (cell >= p.cells) { return; }
  let blocks = (p.length + 7u) / 8u;
  let row = cell / blocks;
  let first = (cell % blocks) * 8u;
  var t = p.row0 + row;
  let c0 = t;
  let xLine = p.xo + c0 * p.xs0;
  var e0 = vec2<u32>(0xffffffffu, first + 0u);
  if (first + 0u < p.length) { let at = xLine + (first + 0u) * p.xl; e0.x = kOrderF(x[at]); }
  var e1 = vec2<u32>(0xffffffffu, first + 1u);
  if (first + 1u < p.length) { let at = xLine + (first + 1u) * p.xl; e1.x = kOrderF(x[at]); }
  var e2 = vec2<u32>(0xffffffffu, first + 2u);
  if (first + 2u < p.length) { let at = xLine + (first + 2u) * p.xl; e2.x = kOrderF(x[at]); }
  var e3 = vec2<u32>(0xffffffffu, first + 3u);
  if (first + 3u < p.length) { let at = xLine + (first + 3u) * p.xl; e3.x = kOrderF(x[at]); }
  var e4 = vec2<u32>(0xffffffffu, first + 4u);
  if (first + 4u < p.length) { let at = xLine + (first + 4u) * p.xl; e4.x = kOrderF(x[at]); }
  var e5 = vec2<u32>(0xffffffffu, first + 5u);
  if (first + 5u < p.length) { let at = xLine + (first + 5u) * p.xl; e5.x = kOrderF(x[at]); }
  var e6 = vec2<u32>(0xffffffffu, first + 6u);
  if (first + 6u < p.length) { let at = xLine + (first + 6u) * p.xl; e6.x = kOrderF(x[at]); }
  var e7 = vec2<u32>(0xffffffffu, first + 7u);
  if (first + 7u < p.length) { let at = xLine + (first + 7u) * p.xl; e7.x = kOrderF(x[at]); }
  { let swap = (e1.x < e0.x || (e1.x == e0.x && e1.y < e0.y)); let low = select(e0, e1, swap); e1 = select(e1, e0, swap); e0 = low; }
  { let swap = (e3.x < e2.x || (e3.x == e2.x && e3.y < e2.y)); let low = select(e2, e3, swap); e3 = select(e3, e2, swap); e2 = low; }
  { let swap = (e5.x < e4.x || (e5.x == e4.x && e5.y < e4.y)); let low = select(e4, e5, swap); e5 = select(e5, e4, swap); e4 = low; }
  { let swap = (e7.x < e6.x || (e7.x == e6.x && e7.y < e6.y)); let low = select(e6, e7, swap); e7 = select(e7, e6, swap); e6 = low; }
  { let swap = (e2.x < e0.x || (e2.x == e0.x && e2.y < e0.y)); let low = select(e0, e2, swap); e2 = select(e2, e0, swap); e0 = low; }
  { let swap = (e3.x < e1.x || (e3.x == e1.x && e3.y < e1.y)); let low = select(e1, e3, swap); e3 = select(e3, e1, swap); e1 = low; }
  { let swap = (e6.x < e4.x || (e6.x == e4.x && e6.y < e4.y)); let low = select(e4, e6, swap); e6 = select(e6, e4, swap); e4 = low; }
  { let swap = (e7.x < e5.x || (e7.x == e5.x && e7.y < e5.y)); let low = select(e5, e7, swap); e7 = select(e7, e5, swap); e5 = low; }
  { let swap = (e2.x < e1.x || (e2.x == e1.x && e2.y < e1.y)); let low = select(e1, e2, swap); e2 = select(e2, e1, swap); e1 = low; }
  { let swap = (e6.x < e5.x || (e6.x == e5.x && e6.y < e5.y)); let low = select(e5, e6, swap); e6 = select(e6, e5, swap); e5 = low; }
  { let swap = (e4.x < e0.x || (e4.x == e0.x && e4.y < e0.y)); let low = select(e0, e4, swap); e4 = select(e4, e0, swap); e0 = low; }
  { let swap = (e5.x < e1.x || (e5.x == e1.x && e5.y < e1.y)); let low = select(e1, e5, swap); e5 = select(e5, e1, swap); e1 = low; }
  { let swap = (e6.x < e2.x || (e6.x == e2.x && e6.y < e2.y)); let low = select(e2, e6, swap); e6 = select(e6, e2, swap); e2 = low; }
  { let swap = (e7.x < e3.x || (e7.x == e3.x && e7.y < e3.y)); let low = select(e3, e7, swap); e7 = select(e7, e3, swap); e3 = low; }
  { let swap = (e4.x < e2.x || (e4.x == e2.x && e4.y < e2.y)); let low = select(e2, e4, swap); e4 = select(e4, e2, swap); e2 = low; }
  { let swap = (e5.x < e3.x || (e5.x == e3.x && e5.y < e3.y)); let low = select(e3, e5, swap); e5 = select(e5, e3, swap); e3 = low; }
  { let swap = (e2.x < e1.x || (e2.x == e1.x && e2.y < e1.y)); let low = select(e1, e2, swap); e2 = select(e2, e1, swap); e1 = low; }
  { let swap = (e4.x < e3.x || (e4.x == e3.x && e4.y < e3.y)); let low = select(e3, e4, swap); e4 = select(e4, e3, swap); e3 = low; }
  { let swap = (e6.x < e5.x || (e6.x == e5.x && e6.y < e5.y)); let low = select(e5, e6, swap); e6 = select(e6, e5, swap); e5 = low; }
  if (first + 0u < p.length) { to[row * p.length + first + 0u] = e0; }
  if (first + 1u < p.length) { to[row * p.length + first + 1u] = e1; }
  if (first + 2u < p.length) { to[row * p.length + first + 2u] = e2; }
  if (first + 3u < p.length) { to[row * p.length + first + 3u] = e3; }
  if (first + 4u < p.length) { to[row * p.length + first + 4u] = e4; }
  if (first + 5u < p.length) { to[row * p.length + first + 5u] = e5; }
  if (first + 6u < p.length) { to[row * p.length + first + 6u] = e6; }
  if (first + 7u < p.length) { to[row * p.length + first + 7u] = e7; }
}
