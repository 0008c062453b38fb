// sum
// p: cells: u32, items: u32, total: u32, chunk: u32, block: u32, rbase: u32, sbase: u32, stotal: u32, i0o: u32, i0k0: u32, i0r0: u32, o0o: u32, o0k0: u32
@group(0) @binding(0) var<storage, read> i0: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> o0: array<f32>;
@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
  let cell = (wid.y * nwg.x + wid.x) * 8u + lid;
  if (cell >= p.cells) { return; }
  let o = cell % p.items;
  let s = cell / p.items;
  var k0 = o;
  let base0 = p.i0o + k0 * p.i0k0;
  let begin = s * p.chunk;
  let end = min(p.total, begin + p.chunk);
  var a0 = vec4<f32>(0.0f);
  var r0 = begin;
  var i = begin;
  while (i < end) {
    let run = min(end - i, p.block);
    var q0 = base0 + r0 * p.i0r0;
    var b0 = vec4<f32>(0.0f);
    for (var j = 0u; j < run; j++) {
      let sx0 = i0[q0];
      b0 += sx0;
      q0 += p.i0r0;
    }
    a0 += b0;
    i += run;
    r0 += run;
  }
  var c0 = a0.x;
  c0 += a0.y;
  c0 += a0.z;
  c0 += a0.w;
  let y0 = c0;
  let z0 = y0; let w0 = p.o0o + k0 * p.o0k0;
  o0[w0] = z0;
}
