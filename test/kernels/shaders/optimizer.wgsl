// sgdMomentum
// p: lr: f32, decay: f32, sign: f32, momentum: f32, keep: f32, fresh: u32, size0: u32, end0: u32, size1: u32, end1: u32
@group(0) @binding(0) var<uniform> guard: vec4u;
@group(0) @binding(1) var<storage, read_write> w0: array<vec4f>;
@group(0) @binding(2) var<storage, read> g0: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> m0: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> w1: array<vec4f>;
@group(0) @binding(5) var<storage, read> g1: array<vec4f>;
@group(0) @binding(6) var<storage, read_write> m1: array<vec4f>;
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  if (guard.x == 0u) { return; }
  let block = (wid.y * nwg.x + wid.x);
  let fresh = p.fresh != 0u;
  if (block < p.end0) {
    let at = (block - 0u) * 64u + lane;
    if (at < p.size0) {
      var w = w0[at]; var g = g0[at]; var m = m0[at];
      g = p.sign * g + p.decay * w;
      m = select(p.momentum * m + p.keep * g, g, fresh);
      w -= p.lr * m;
      w0[at] = w; m0[at] = m;
    }
  } else if (block < p.end1) {
    let at = (block - p.end0) * 64u + lane;
    if (at < p.size1) {
      var w = w1[at]; var g = g1[at]; var m = m1[at];
      g = p.sign * g + p.decay * w;
      m = select(p.momentum * m + p.keep * g, g, fresh);
      w -= p.lr * m;
      w1[at] = w; m1[at] = m;
    }
  }
}
