// crossEntropy
// p: rows: u32, lanes: u32, smoothing: f32, ignored: i32
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> labels: array<i32>;
@group(0) @binding(2) var<storage, read_write> rowsOut: array<f32>;
fn isNan(x: f32) -> bool { return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u; }
fn nan() -> f32 { var bits = 0x7fc00000u; return bitcast<f32>(bits); }
fn lowest() -> f32 { return -3.402823466e+38; }
fn across(v: f32) -> f32 { return v; }
fn top(v: f32) -> f32 { return v; }
fn total(v: f32, lid: u32) -> f32 { return v; }
fn largest(v: f32, lid: u32) -> f32 { return v; }
@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
  let row = (wid.y * nwg.x + wid.x) * 8u + lid;
  if (row >= p.rows) { return; }
  let t = 0u;
  let lanes = p.lanes;
  let base = row * p.lanes;
  let label = labels[row];
  let skip = label == p.ignored;
  let valid = label >= 0 && u32(label) < p.lanes * 1u;
  var best = f32(lowest());
  for (var i = t; i < lanes; i += 1u) { best = max(best, x[base + i]); }
  let m = largest(top(best), lid);
  var acc = f32(0.0);
  for (var i = t; i < lanes; i += 1u) { acc += exp(x[base + i] - f32(m)); }
  let z = total(across(acc), lid);
  let rest = log(z);
  var spread = f32(0.0);
  for (var i = t; i < lanes; i += 1u) { spread += (f32(rest) - (x[base + i] - f32(m))); }
  let even = total(across(spread), lid) / f32(p.lanes * 1u);
  if (true) {
    var loss = 0.0; var w = 0.0;
    if (!skip) {
      if (valid) {
        let c = u32(label);
        w = 1.0;
        loss = (1.0 - p.smoothing) * w * (rest - (x[base + c] - m)) + p.smoothing * even;
      } else {
        loss = nan(); w = 1.0;
        raiseFault(vec4<u32>(u32(label), row, p.lanes * 1u, u32(p.ignored)));
      }
    }
    rowsOut[row] = loss;
    rowsOut[p.rows + row] = w;
    rowsOut[2u * p.rows + row] = m;
    rowsOut[3u * p.rows + row] = rest;
  }
}
