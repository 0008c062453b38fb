// splitSum
// p: rows: u32, columns: u32, splits: u32, ldp: u32, ldo: u32, outOff: u32, outBatch: u32, residualOff: u32
@group(0) @binding(0) var<storage, read> partials: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> out: array<vec4<f32>>;
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let i = (wid.y * nwg.x + wid.x) * 64u + lane;
  if (i >= p.rows * p.columns) { return; }
  let batch = wid.z;
  let row = i / p.columns;
  let col = i - row * p.columns;
  let stride = p.rows * p.ldp / 4u;
  var at = batch * p.splits * stride + row * (p.ldp / 4u) + col;
  var sum = partials[at];
  for (var s = 1u; s < p.splits; s++) {
    at += stride;
    sum += partials[at];
  }
  { var v = sum; out[(p.outOff + batch * p.outBatch + row * p.ldo) / 4u + col] = v; }
}
