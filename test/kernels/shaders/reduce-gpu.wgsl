// argmax
// p: cells: u32, items: u32, total: u32, chunk: u32, block: u32, rbase: u32, sbase: u32, stotal: u32, team: u32, i0o: u32, i0k0: u32, i0r0: u32, o0o: u32, o0k0: u32
@group(0) @binding(0) var<storage, read> i0: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> o0: array<i32>;
var<workgroup> shared0: array<u32, 256>;
var<workgroup> shared1: array<u32, 256>;
fn kUnorderF(k: u32) -> f32 {
  return bitcast<f32>(select(~k, k & u32(0x7fffffffu), k >= u32(0x80000000u)));
}
fn kOrderF4(x: vec4<f32>) -> vec4<u32> {
  let b = bitcast<vec4<u32>>(select(x, vec4<f32>(0.0f), x == vec4<f32>(0.0f)));
  let k = select(b | vec4<u32>(0x80000000u), ~b, b >= vec4<u32>(0x80000000u));
  return select(k, vec4<u32>(0xffffffffu), (b & vec4<u32>(0x7fffffffu)) > vec4<u32>(0x7f800000u));
}
@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
  let cells = 256u / p.team;
  let cell = (wid.y * nwg.x + wid.x) * cells + lid / p.team;
  let member = lid % p.team;
  let live = cell < p.cells;
  let o = cell % p.items;
  let s = cell / p.items;
  var k0 = o;
  let base0 = p.i0o + k0 * p.i0k0;
  let begin = s * p.chunk;
  let end = select(begin, min(p.total, begin + p.chunk), live);
  var a0 = vec4<u32>(0u);
  var a1 = vec4<u32>(4294967295u);
  for (var i = begin + member; i < end; i += p.team) {
    var r0 = i;
    let sx0 = i0[(base0 + r0 * p.i0r0)];
    { let k = kOrderF4(sx0); let i = (vec4<u32>((p.rbase + i) * 4u) + vec4<u32>(0u, 1u, 2u, 3u));
      let better = (k > a0) | ((k == a0) & (i < a1));
      a0 = select(a0, k, better);
      a1 = select(a1, i, better); }
  }
  var c0 = a0.x;
  var c1 = a1.x;
  { let k = a0.y; let i = a1.y;
    let better = (k > c0) | ((k == c0) & (i < c1));
    c0 = select(c0, k, better);
    c1 = select(c1, i, better); }
  { let k = a0.z; let i = a1.z;
    let better = (k > c0) | ((k == c0) & (i < c1));
    c0 = select(c0, k, better);
    c1 = select(c1, i, better); }
  { let k = a0.w; let i = a1.w;
    let better = (k > c0) | ((k == c0) & (i < c1));
    c0 = select(c0, k, better);
    c1 = select(c1, i, better); }
  shared0[lid] = c0; shared1[lid] = c1;
  workgroupBarrier();
  for (var h = p.team >> 1u; h > 0u; h = h >> 1u) {
    if (member < h) {
      { let k = shared0[lid + h]; let i = shared1[lid + h];
        let better = (k > c0) | ((k == c0) & (i < c1));
        c0 = select(c0, k, better);
        c1 = select(c1, i, better); }
      shared0[lid] = c0; shared1[lid] = c1;
    }
    workgroupBarrier();
  }
  if (live && member == 0u) {
    let y0 = kUnorderF(c0);
    let y1 = i32(c1);
    let z0 = y1; let w0 = p.o0o + k0 * p.o0k0;
    o0[w0] = z0;
  }
}
