// cumsum
// p: groups: u32, lines: u32, length: u32, chunk: u32, chunks: u32, span: u32, each: u32, xo: u32, xl: u32, xs0: u32, yo: u32, yl: u32, ys0: u32
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
var<workgroup> tile: array<f32, 1792>;
var<workgroup> xLine: array<u32, 32>;
var<workgroup> yLine: array<u32, 32>;
var<workgroup> state0: array<f32, 512>;
@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
  let cut = (wid.y * nwg.x + wid.x);
  if (cut >= p.groups) { return; }
  let chunk = cut % p.chunks;
  let bundle = cut / p.chunks;
  let s = lid % 8u;
  let l = lid / 8u;
  let line = bundle * 32u + l;
  if (lid < 32u) {
    var t = bundle * 32u + lid;
    let c0 = t;
    xLine[lid] = p.xo + c0 * p.xs0;
    yLine[lid] = p.yo + c0 * p.ys0;
  }
  var carry0 = 0.0f;
  let end = min(p.length, (chunk + 1u) * p.chunk);
  for (var begin = chunk * p.chunk; begin < end; begin += p.span) {
    workgroupBarrier();
    let count = min(p.span, end - begin);
    for (var i = lid; i < 32u * p.span; i += 256u) {
      let row = i / p.span;
      let at = i % p.span;
      if (at < count && bundle * 32u + row < p.lines) { tile[i] = f32(x[xLine[row] + (begin + at) * p.xl]); }
    }
    workgroupBarrier();
    let low = min(s * p.each, count);
    let high = min(low + p.each, count);
    var acc0 = 0.0f;
    for (var i = low; i < high; i++) {
      acc0 += tile[l * p.span + i];
    }
    var half = 0u;
    state0[lid] = acc0;
    for (var d = 1u; d < 8u; d *= 2u) {
      workgroupBarrier();
      var mine0 = state0[half + lid];
      if (s >= d) {
        var left0 = state0[half + lid - d * 1u];
        left0 += mine0;
        mine0 = left0;
      }
      half = 256u - half;
      state0[half + lid] = mine0;
    }
    workgroupBarrier();
    let last = half + l * 8u + (count - 1u) / p.each;
    var total0 = state0[last];
    acc0 = carry0;
    if (s > 0u) {
      var before0 = state0[half + lid - 1u];
      acc0 += before0;
    }
    carry0 += total0;
    for (var i = low; i < high; i++) {
      acc0 += tile[l * p.span + i];
      tile[l * p.span + i] = acc0;
    }
    workgroupBarrier();
    for (var i = lid; i < 32u * p.span; i += 256u) {
      let row = i / p.span;
      let at = i % p.span;
      if (at < count && bundle * 32u + row < p.lines) { y[yLine[row] + (begin + at) * p.yl] = tile[i]; }
    }
  }
}
