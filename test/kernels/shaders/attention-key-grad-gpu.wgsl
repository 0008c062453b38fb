// attentionKeyGrad
// p: L: u32, S: u32, E: u32, V: u32, heads: u32, group: u32, blocks: u32, total: u32, causal: u32, shown: u32, scale: f32, statsBatch: u32, statsOff: u32, plane: u32, maskBatch: u32, maskHead: u32, maskRow: u32, maskCol: u32, maskOff: u32, qBatch: u32, qHead: u32, qRow: u32, qOff: u32, kBatch: u32, kHead: u32, kRow: u32, kOff: u32, vBatch: u32, vHead: u32, vRow: u32, vOff: u32, gBatch: u32, gHead: u32, gRow: u32, gOff: u32, dkBatch: u32, dkHead: u32, dkRow: u32, dkOff: u32, dvBatch: u32, dvHead: u32, dvRow: u32, dvOff: u32
@group(0) @binding(0) var<storage, read> q: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> k: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> v: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> g: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> dk: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> dv: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read> mask: array<u32>;
@group(0) @binding(7) var<storage, read> stats: array<f32>;
fn minusInfinity() -> f32 { var bits = 0xff800000u; return bitcast<f32>(bits); }
var<workgroup> tile: array<vec4<f32>, 1024>;
@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
  let unit = (wid.y * nwg.x + wid.x);
  if (unit >= p.total) { return; }
  let each = unit / p.blocks;
  let n = each / p.heads;
  let h = each - n * p.heads;
  let row0 = (unit - each * p.blocks) * 64u;
  let tx = lid % 8u;
  let ty = lid / 8u;
  let kBase = p.kOff + n * p.kBatch + h * p.kHead;
  let vBase = p.vOff + n * p.vBatch + h * p.vHead;
  let dkBase = p.dkOff + n * p.dkBatch + h * p.dkHead;
  let dvBase = p.dvOff + n * p.dvBatch + h * p.dvHead;
  var dk0_0 = vec4<f32>(0.0);
  var dk0_1 = vec4<f32>(0.0);
  var dk1_0 = vec4<f32>(0.0);
  var dk1_1 = vec4<f32>(0.0);
  var dk2_0 = vec4<f32>(0.0);
  var dk2_1 = vec4<f32>(0.0);
  var dk3_0 = vec4<f32>(0.0);
  var dk3_1 = vec4<f32>(0.0);
  var dv0_0 = vec4<f32>(0.0);
  var dv0_1 = vec4<f32>(0.0);
  var dv1_0 = vec4<f32>(0.0);
  var dv1_1 = vec4<f32>(0.0);
  var dv2_0 = vec4<f32>(0.0);
  var dv2_1 = vec4<f32>(0.0);
  var dv3_0 = vec4<f32>(0.0);
  var dv3_1 = vec4<f32>(0.0);
  let first = select(0u, row0 / 32u * 32u, p.causal != 0u);
  var col0 = first;
  var turn = select(0u, p.group, first >= p.L);
  while (turn < p.group) {
    let head = h * p.group + turn;
    let qBase = p.qOff + n * p.qBatch + head * p.qHead;
    let gBase = p.gOff + n * p.gBatch + head * p.gHead;
    let statsBase = p.statsOff + n * p.statsBatch + head * p.L;
    let maskBase = p.maskOff + n * p.maskBatch + head * p.maskHead;
    let cols = vec4<u32>(col0 + tx) + vec4<u32>(0u, 8u, 16u, 24u);
    let here = min(cols, vec4<u32>(p.L - 1u));
    var s0 = vec4<f32>(0.0);
    var s1 = vec4<f32>(0.0);
    var s2 = vec4<f32>(0.0);
    var s3 = vec4<f32>(0.0);
    {
      for (var e0 = 0u; e0 < p.E; e0 += 8u) {
        workgroupBarrier();
        for (var i = lid; i < 512u; i += 128u) {
          let r = i / 8u; let e = e0 + i % 8u;
          let source = kBase + min(row0 + r, p.S - 1u) * p.kRow + min(e, p.E - 1u);
          tile[0u + r * 9u + i % 8u] = select(vec4<f32>(0.0), k[source], e < p.E);
        }
        for (var i = lid; i < 256u; i += 128u) {
          let r = i / 8u; let e = e0 + i % 8u;
          let source = qBase + min(col0 + r, p.L - 1u) * p.qRow + min(e, p.E - 1u);
          tile[576u + r * 9u + i % 8u] = select(vec4<f32>(0.0), q[source], e < p.E);
        }
        workgroupBarrier();
        for (var i = 0u; i < 8u; i++) {
          let x0 = tile[(ty + 0u) * 9u + i];
          let x1 = tile[(ty + 16u) * 9u + i];
          let x2 = tile[(ty + 32u) * 9u + i];
          let x3 = tile[(ty + 48u) * 9u + i];
          let y0 = tile[576u + (tx + 0u) * 9u + i];
          let y1 = tile[576u + (tx + 8u) * 9u + i];
          let y2 = tile[576u + (tx + 16u) * 9u + i];
          let y3 = tile[576u + (tx + 24u) * 9u + i];
          s0 += vec4<f32>(dot(x0, y0), dot(x0, y1), dot(x0, y2), dot(x0, y3));
          s1 += vec4<f32>(dot(x1, y0), dot(x1, y1), dot(x1, y2), dot(x1, y3));
          s2 += vec4<f32>(dot(x2, y0), dot(x2, y1), dot(x2, y2), dot(x2, y3));
          s3 += vec4<f32>(dot(x3, y0), dot(x3, y1), dot(x3, y2), dot(x3, y3));
        }
      }
    }
    let most = vec4<f32>(stats[statsBase + here.x], stats[statsBase + here.y], stats[statsBase + here.z], stats[statsBase + here.w]);
    let share = vec4<f32>(stats[p.plane + statsBase + here.x], stats[p.plane + statsBase + here.y], stats[p.plane + statsBase + here.z], stats[p.plane + statsBase + here.w]);
    let there = cols < vec4<u32>(p.L);
    var flat0 = vec4<bool>(false);
    var flat1 = vec4<bool>(false);
    var flat2 = vec4<bool>(false);
    var flat3 = vec4<bool>(false);
    {
      {
        let at = vec4<u32>(maskBase + min((row0 + ty + 0u), p.S - 1u) * p.maskCol) + min(cols, vec4<u32>(p.L - 1u)) * p.maskRow;
        let given = vec4<u32>(mask[at.x], mask[at.y], mask[at.z], mask[at.w]);
        let hidden = ((cols >= vec4<u32>(p.L)) | (cols < vec4<u32>(select(0u, (row0 + ty + 0u), p.causal != 0u)))) | ((given != vec4<u32>(0u)) != vec4<bool>(p.shown != 0u));
        s0 = select(s0 * p.scale, vec4<f32>(minusInfinity()), hidden);
        s0 = select(vec4<f32>(0.0), exp(s0 - most) * share, there);
        flat0 = hidden;
      }
      {
        let at = vec4<u32>(maskBase + min((row0 + ty + 16u), p.S - 1u) * p.maskCol) + min(cols, vec4<u32>(p.L - 1u)) * p.maskRow;
        let given = vec4<u32>(mask[at.x], mask[at.y], mask[at.z], mask[at.w]);
        let hidden = ((cols >= vec4<u32>(p.L)) | (cols < vec4<u32>(select(0u, (row0 + ty + 16u), p.causal != 0u)))) | ((given != vec4<u32>(0u)) != vec4<bool>(p.shown != 0u));
        s1 = select(s1 * p.scale, vec4<f32>(minusInfinity()), hidden);
        s1 = select(vec4<f32>(0.0), exp(s1 - most) * share, there);
        flat1 = hidden;
      }
      {
        let at = vec4<u32>(maskBase + min((row0 + ty + 32u), p.S - 1u) * p.maskCol) + min(cols, vec4<u32>(p.L - 1u)) * p.maskRow;
        let given = vec4<u32>(mask[at.x], mask[at.y], mask[at.z], mask[at.w]);
        let hidden = ((cols >= vec4<u32>(p.L)) | (cols < vec4<u32>(select(0u, (row0 + ty + 32u), p.causal != 0u)))) | ((given != vec4<u32>(0u)) != vec4<bool>(p.shown != 0u));
        s2 = select(s2 * p.scale, vec4<f32>(minusInfinity()), hidden);
        s2 = select(vec4<f32>(0.0), exp(s2 - most) * share, there);
        flat2 = hidden;
      }
      {
        let at = vec4<u32>(maskBase + min((row0 + ty + 48u), p.S - 1u) * p.maskCol) + min(cols, vec4<u32>(p.L - 1u)) * p.maskRow;
        let given = vec4<u32>(mask[at.x], mask[at.y], mask[at.z], mask[at.w]);
        let hidden = ((cols >= vec4<u32>(p.L)) | (cols < vec4<u32>(select(0u, (row0 + ty + 48u), p.causal != 0u)))) | ((given != vec4<u32>(0u)) != vec4<bool>(p.shown != 0u));
        s3 = select(s3 * p.scale, vec4<f32>(minusInfinity()), hidden);
        s3 = select(vec4<f32>(0.0), exp(s3 - most) * share, there);
        flat3 = hidden;
      }
    }
    {
      workgroupBarrier();
      tile[(tx + 0u) * 16u + ty] = vec4<f32>(s0.x, s1.x, s2.x, s3.x);
      tile[(tx + 8u) * 16u + ty] = vec4<f32>(s0.y, s1.y, s2.y, s3.y);
      tile[(tx + 16u) * 16u + ty] = vec4<f32>(s0.z, s1.z, s2.z, s3.z);
      tile[(tx + 24u) * 16u + ty] = vec4<f32>(s0.w, s1.w, s2.w, s3.w);
      var block0_0 = vec4<f32>(0.0);
      var block0_1 = vec4<f32>(0.0);
      var block1_0 = vec4<f32>(0.0);
      var block1_1 = vec4<f32>(0.0);
      var block2_0 = vec4<f32>(0.0);
      var block2_1 = vec4<f32>(0.0);
      var block3_0 = vec4<f32>(0.0);
      var block3_1 = vec4<f32>(0.0);
      for (var c0 = 0u; c0 < 32u; c0 += 32u) {
        for (var i = lid; i < 512u; i += 128u) {
          let c = col0 + c0 + i / 16u; let e = i % 16u;
          let source = gBase + min(c, p.L - 1u) * p.gRow + min(e, p.V - 1u);
          tile[512u + i] = select(vec4<f32>(0.0), g[source], c < p.L && e < p.V);
        }
        workgroupBarrier();
        for (var c = 0u; c < 32u; c++) {
          let x = tile[(c0 + c) * 16u + ty];
          let y0 = tile[512u + c * 16u + tx + 0u];
          let y1 = tile[512u + c * 16u + tx + 8u];
          block0_0 += x.x * y0;
          block0_1 += x.x * y1;
          block1_0 += x.y * y0;
          block1_1 += x.y * y1;
          block2_0 += x.z * y0;
          block2_1 += x.z * y1;
          block3_0 += x.w * y0;
          block3_1 += x.w * y1;
        }
      }
      dv0_0 += block0_0;
      dv0_1 += block0_1;
      dv1_0 += block1_0;
      dv1_1 += block1_1;
      dv2_0 += block2_0;
      dv2_1 += block2_1;
      dv3_0 += block3_0;
      dv3_1 += block3_1;
    }
    var w0 = vec4<f32>(0.0);
    var w1 = vec4<f32>(0.0);
    var w2 = vec4<f32>(0.0);
    var w3 = vec4<f32>(0.0);
    {
      for (var e0 = 0u; e0 < p.V; e0 += 8u) {
        workgroupBarrier();
        for (var i = lid; i < 512u; i += 128u) {
          let r = i / 8u; let e = e0 + i % 8u;
          let source = vBase + min(row0 + r, p.S - 1u) * p.vRow + min(e, p.V - 1u);
          tile[0u + r * 9u + i % 8u] = select(vec4<f32>(0.0), v[source], e < p.V);
        }
        for (var i = lid; i < 256u; i += 128u) {
          let r = i / 8u; let e = e0 + i % 8u;
          let source = gBase + min(col0 + r, p.L - 1u) * p.gRow + min(e, p.V - 1u);
          tile[576u + r * 9u + i % 8u] = select(vec4<f32>(0.0), g[source], e < p.V);
        }
        workgroupBarrier();
        for (var i = 0u; i < 8u; i++) {
          let x0 = tile[(ty + 0u) * 9u + i];
          let x1 = tile[(ty + 16u) * 9u + i];
          let x2 = tile[(ty + 32u) * 9u + i];
          let x3 = tile[(ty + 48u) * 9u + i];
          let y0 = tile[576u + (tx + 0u) * 9u + i];
          let y1 = tile[576u + (tx + 8u) * 9u + i];
          let y2 = tile[576u + (tx + 16u) * 9u + i];
          let y3 = tile[576u + (tx + 24u) * 9u + i];
          w0 += vec4<f32>(dot(x0, y0), dot(x0, y1), dot(x0, y2), dot(x0, y3));
          w1 += vec4<f32>(dot(x1, y0), dot(x1, y1), dot(x1, y2), dot(x1, y3));
          w2 += vec4<f32>(dot(x2, y0), dot(x2, y1), dot(x2, y2), dot(x2, y3));
          w3 += vec4<f32>(dot(x3, y0), dot(x3, y1), dot(x3, y2), dot(x3, y3));
        }
      }
    }
    let dots = vec4<f32>(stats[2u * p.plane + statsBase + here.x], stats[2u * p.plane + statsBase + here.y], stats[2u * p.plane + statsBase + here.z], stats[2u * p.plane + statsBase + here.w]);
    s0 = select(s0 * (w0 - dots) * p.scale, vec4<f32>(0.0), flat0);
    s1 = select(s1 * (w1 - dots) * p.scale, vec4<f32>(0.0), flat1);
    s2 = select(s2 * (w2 - dots) * p.scale, vec4<f32>(0.0), flat2);
    s3 = select(s3 * (w3 - dots) * p.scale, vec4<f32>(0.0), flat3);
    {
      workgroupBarrier();
      tile[(tx + 0u) * 16u + ty] = vec4<f32>(s0.x, s1.x, s2.x, s3.x);
      tile[(tx + 8u) * 16u + ty] = vec4<f32>(s0.y, s1.y, s2.y, s3.y);
      tile[(tx + 16u) * 16u + ty] = vec4<f32>(s0.z, s1.z, s2.z, s3.z);
      tile[(tx + 24u) * 16u + ty] = vec4<f32>(s0.w, s1.w, s2.w, s3.w);
      var block0_0 = vec4<f32>(0.0);
      var block0_1 = vec4<f32>(0.0);
      var block1_0 = vec4<f32>(0.0);
      var block1_1 = vec4<f32>(0.0);
      var block2_0 = vec4<f32>(0.0);
      var block2_1 = vec4<f32>(0.0);
      var block3_0 = vec4<f32>(0.0);
      var block3_1 = vec4<f32>(0.0);
      for (var c0 = 0u; c0 < 32u; c0 += 32u) {
        for (var i = lid; i < 512u; i += 128u) {
          let c = col0 + c0 + i / 16u; let e = i % 16u;
          let source = qBase + min(c, p.L - 1u) * p.qRow + min(e, p.E - 1u);
          tile[512u + i] = select(vec4<f32>(0.0), q[source], c < p.L && e < p.E);
        }
        workgroupBarrier();
        for (var c = 0u; c < 32u; c++) {
          let x = tile[(c0 + c) * 16u + ty];
          let y0 = tile[512u + c * 16u + tx + 0u];
          let y1 = tile[512u + c * 16u + tx + 8u];
          block0_0 += x.x * y0;
          block0_1 += x.x * y1;
          block1_0 += x.y * y0;
          block1_1 += x.y * y1;
          block2_0 += x.z * y0;
          block2_1 += x.z * y1;
          block3_0 += x.w * y0;
          block3_1 += x.w * y1;
        }
      }
      dk0_0 += block0_0;
      dk0_1 += block0_1;
      dk1_0 += block1_0;
      dk1_1 += block1_1;
      dk2_0 += block2_0;
      dk2_1 += block2_1;
      dk3_0 += block3_0;
      dk3_1 += block3_1;
    }
    col0 += 32u;
    if (col0 >= p.L) { col0 = first; turn++; }
  }
  if ((row0 + ty + 0u) < p.S) {
    let to = dkBase + (row0 + ty + 0u) * p.dkRow;
    if (tx + 0u < p.E) { dk[to + tx + 0u] = dk0_0; }
    if (tx + 8u < p.E) { dk[to + tx + 8u] = dk0_1; }
  }
  if ((row0 + ty + 16u) < p.S) {
    let to = dkBase + (row0 + ty + 16u) * p.dkRow;
    if (tx + 0u < p.E) { dk[to + tx + 0u] = dk1_0; }
    if (tx + 8u < p.E) { dk[to + tx + 8u] = dk1_1; }
  }
  if ((row0 + ty + 32u) < p.S) {
    let to = dkBase + (row0 + ty + 32u) * p.dkRow;
    if (tx + 0u < p.E) { dk[to + tx + 0u] = dk2_0; }
    if (tx + 8u < p.E) { dk[to + tx + 8u] = dk2_1; }
  }
  if ((row0 + ty + 48u) < p.S) {
    let to = dkBase + (row0 + ty + 48u) * p.dkRow;
    if (tx + 0u < p.E) { dk[to + tx + 0u] = dk3_0; }
    if (tx + 8u < p.E) { dk[to + tx + 8u] = dk3_1; }
  }
  if ((row0 + ty + 0u) < p.S) {
    let to = dvBase + (row0 + ty + 0u) * p.dvRow;
    if (tx + 0u < p.V) { dv[to + tx + 0u] = dv0_0; }
    if (tx + 8u < p.V) { dv[to + tx + 8u] = dv0_1; }
  }
  if ((row0 + ty + 16u) < p.S) {
    let to = dvBase + (row0 + ty + 16u) * p.dvRow;
    if (tx + 0u < p.V) { dv[to + tx + 0u] = dv1_0; }
    if (tx + 8u < p.V) { dv[to + tx + 8u] = dv1_1; }
  }
  if ((row0 + ty + 32u) < p.S) {
    let to = dvBase + (row0 + ty + 32u) * p.dvRow;
    if (tx + 0u < p.V) { dv[to + tx + 0u] = dv2_0; }
    if (tx + 8u < p.V) { dv[to + tx + 8u] = dv2_1; }
  }
  if ((row0 + ty + 48u) < p.S) {
    let to = dvBase + (row0 + ty + 48u) * p.dvRow;
    if (tx + 0u < p.V) { dv[to + tx + 0u] = dv3_0; }
    if (tx + 8u < p.V) { dv[to + tx + 8u] = dv3_1; }
  }
}
