// cumsum
// p: cells: u32, lines: u32, length: u32, chunk: u32, chunks: u32, xo: u32, xl: u32, xs0: u32, yo: u32, yl: u32, ys0: u32
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
  let cell = (wid.y * nwg.x + wid.x) * 8u + lid;
  if (cell >= p.cells) { return; }
  let line = cell % p.lines;
  let part = cell / p.lines;
  var t = line;
  let c0 = t;
  let begin = part * p.chunk;
  let end = min(p.length, begin + p.chunk);
  var acc0 = 0.0f;
  var at = p.xo + c0 * p.xs0 + begin * p.xl;
  var yAt = p.yo + c0 * p.ys0 + begin * p.yl;
  for (var i = begin; i < end; i++) {
    acc0 += f32(x[at]);
    at += p.xl;
    y[yAt] = acc0; yAt += p.yl;
  }
}
