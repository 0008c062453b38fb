// indexAdd
// p: columns: u32, total: u32, j0O: u32, j0C0: u32, j0L0: u32, srcO: u32, srcC0: u32, srcL0: u32, outO: u32, outC0: u32, g0: u32, n0: i32
@group(0) @binding(0) var<storage, read> index0: array<i32>;
@group(0) @binding(1) var<storage, read> src: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> out: array<vec4<f32>>;
@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
  let column = (wid.y * nwg.x + wid.x) * 8u + lid;
  if (column >= p.columns) { return; }
  var ct = column;
  let c0 = ct;
  let j0Base = p.j0O + c0 * p.j0C0;
  let srcBase = p.srcO + c0 * p.srcC0;
  let outBase = p.outO + c0 * p.outC0;
  for (var i = 0u; i < p.total; i++) {
    let l0 = i;
    var inside = true;
    var position = outBase;
    let raw0 = index0[j0Base + l0 * p.j0L0];
    let i0 = select(raw0, raw0 + p.n0, raw0 < 0);
    inside = inside && i0 >= 0 && i0 < p.n0;
    position += bitcast<u32>(i0) * p.g0;
    if (inside) {
      let v = vec4<f32>(src[srcBase + l0 * p.srcL0]);
      let old = out[position];
      out[position] = (old + v);
    }
  }
}
