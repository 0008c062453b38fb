// attentionQueryGrad
// p: L: u32, S: u32, E: u32, V: u32, heads: u32, group: u32, blocks: u32, total: u32, causal: u32, shown: u32, scale: f32, statsBatch: u32, statsOff: u32, plane: u32, maskBatch: u32, maskHead: u32, maskRow: u32, maskCol: u32, maskOff: u32, qBatch: u32, qHead: u32, qRow: u32, qOff: u32, kBatch: u32, kHead: u32, kRow: u32, kOff: u32, vBatch: u32, vHead: u32, vRow: u32, vOff: u32, oBatch: u32, oHead: u32, oRow: u32, oOff: u32, gBatch: u32, gHead: u32, gRow: u32, gOff: u32, dqBatch: u32, dqHead: u32, dqRow: u32, dqOff: u32
@group(0) @binding(0) var<storage, read> q: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> k: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> v: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> o: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> g: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> dq: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read> mask: array<u32>;
@group(0) @binding(7) var<storage, read_write> stats: array<f32>;
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
  let kvHead = h / p.group;
  let qBase = p.qOff + n * p.qBatch + h * p.qHead;
  let oBase = p.oOff + n * p.oBatch + h * p.oHead;
  let gBase = p.gOff + n * p.gBatch + h * p.gHead;
  let dqBase = p.dqOff + n * p.dqBatch + h * p.dqHead;
  let kBase = p.kOff + n * p.kBatch + kvHead * p.kHead;
  let vBase = p.vOff + n * p.vBatch + kvHead * p.vHead;
  let statsBase = p.statsOff + n * p.statsBatch + h * p.L;
  let maskBase = p.maskOff + n * p.maskBatch + h * p.maskHead;
  let at0 = min((row0 + ty + 0u), p.L - 1u);
  let most0 = stats[statsBase + at0];
  let share0 = stats[p.plane + statsBase + at0];
  var part0 = 0.0;
  for (var e = tx; e < p.V; e += 8u) {
    part0 += dot(o[oBase + at0 * p.oRow + e], g[gBase + at0 * p.gRow + e]);
  }
  let at1 = min((row0 + ty + 16u), p.L - 1u);
  let most1 = stats[statsBase + at1];
  let share1 = stats[p.plane + statsBase + at1];
  var part1 = 0.0;
  for (var e = tx; e < p.V; e += 8u) {
    part1 += dot(o[oBase + at1 * p.oRow + e], g[gBase + at1 * p.gRow + e]);
  }
  let at2 = min((row0 + ty + 32u), p.L - 1u);
  let most2 = stats[statsBase + at2];
  let share2 = stats[p.plane + statsBase + at2];
  var part2 = 0.0;
  for (var e = tx; e < p.V; e += 8u) {
    part2 += dot(o[oBase + at2 * p.oRow + e], g[gBase + at2 * p.gRow + e]);
  }
  let at3 = min((row0 + ty + 48u), p.L - 1u);
  let most3 = stats[statsBase + at3];
  let share3 = stats[p.plane + statsBase + at3];
  var part3 = 0.0;
  for (var e = tx; e < p.V; e += 8u) {
    part3 += dot(o[oBase + at3 * p.oRow + e], g[gBase + at3 * p.gRow + e]);
  }
  workgroupBarrier();
  tile[ty * 8u + tx] = vec4<f32>(part0, part1, part2, part3);
  workgroupBarrier();
  var pull = tile[ty * 8u];
  for (var i = 1u; i < 8u; i++) { pull = pull + tile[ty * 8u + i]; }
  let pull0 = pull.x;
  let pull1 = pull.y;
  let pull2 = pull.z;
  let pull3 = pull.w;
  if (tx == 0u) {
    if ((row0 + ty + 0u) < p.L) { stats[2u * p.plane + statsBase + (row0 + ty + 0u)] = pull0; }
    if ((row0 + ty + 16u) < p.L) { stats[2u * p.plane + statsBase + (row0 + ty + 16u)] = pull1; }
    if ((row0 + ty + 32u) < p.L) { stats[2u * p.plane + statsBase + (row0 + ty + 32u)] = pull2; }
    if ((row0 + ty + 48u) < p.L) { stats[2u * p.plane + statsBase + (row0 + ty + 48u)] = pull3; }
  }
  var d0_0 = vec4<f32>(0.0);
  var d0_1 = vec4<f32>(0.0);
  var d1_0 = vec4<f32>(0.0);
  var d1_1 = vec4<f32>(0.0);
  var d2_0 = vec4<f32>(0.0);
  var d2_1 = vec4<f32>(0.0);
  var d3_0 = vec4<f32>(0.0);
  var d3_1 = vec4<f32>(0.0);
  let end = select(p.S, min(p.S, row0 + 64u), p.causal != 0u);
  for (var col0 = 0u; col0 < end; col0 += 32u) {
    let cols = vec4<u32>(col0 + tx) + vec4<u32>(0u, 8u, 16u, 24u);
    var s0 = vec4<f32>(0.0);
    var s1 = vec4<f32>(0.0);
    var s2 = vec4<f32>(0.0);
    var s3 = vec4<f32>(0.0);
    {
      for (var e0 = 0u; e0 < p.E; e0 += 8u) {
        workgroupBarrier();
        for (var i = lid; i < 512u; i += 128u) {
          let r = i / 8u; let e = e0 + i % 8u;
          let source = qBase + min(row0 + r, p.L - 1u) * p.qRow + min(e, p.E - 1u);
          tile[0u + r * 9u + i % 8u] = select(vec4<f32>(0.0), q[source], e < p.E);
        }
        for (var i = lid; i < 256u; i += 128u) {
          let r = i / 8u; let e = e0 + i % 8u;
          let source = kBase + min(col0 + r, p.S - 1u) * p.kRow + min(e, p.E - 1u);
          tile[576u + r * 9u + i % 8u] = select(vec4<f32>(0.0), k[source], e < p.E);
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
    var w0 = vec4<f32>(0.0);
    var w1 = vec4<f32>(0.0);
    var w2 = vec4<f32>(0.0);
    var w3 = vec4<f32>(0.0);
    {
      for (var e0 = 0u; e0 < p.V; e0 += 8u) {
        workgroupBarrier();
        for (var i = lid; i < 512u; i += 128u) {
          let r = i / 8u; let e = e0 + i % 8u;
          let source = gBase + min(row0 + r, p.L - 1u) * p.gRow + min(e, p.V - 1u);
          tile[0u + r * 9u + i % 8u] = select(vec4<f32>(0.0), g[source], e < p.V);
        }
        for (var i = lid; i < 256u; i += 128u) {
          let r = i / 8u; let e = e0 + i % 8u;
          let source = vBase + min(col0 + r, p.S - 1u) * p.vRow + min(e, p.V - 1u);
          tile[576u + r * 9u + i % 8u] = select(vec4<f32>(0.0), v[source], e < p.V);
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
    {
      let at = vec4<u32>(maskBase + min((row0 + ty + 0u), p.L - 1u) * p.maskRow) + min(cols, vec4<u32>(p.S - 1u)) * p.maskCol;
      let given = vec4<u32>(mask[at.x], mask[at.y], mask[at.z], mask[at.w]);
      let hidden = (cols >= vec4<u32>(select(p.S, min(p.S, (row0 + ty + 0u) + 1u), p.causal != 0u))) | ((given != vec4<u32>(0u)) != vec4<bool>(p.shown != 0u));
      s0 = select(s0 * p.scale, vec4<f32>(minusInfinity()), hidden);
      let weights = exp(s0 - vec4<f32>(most0)) * share0;
      let score = weights * (w0 - vec4<f32>(pull0)) * p.scale;
      s0 = select(score, vec4<f32>(0.0), hidden);
    }
    {
      let at = vec4<u32>(maskBase + min((row0 + ty + 16u), p.L - 1u) * p.maskRow) + min(cols, vec4<u32>(p.S - 1u)) * p.maskCol;
      let given = vec4<u32>(mask[at.x], mask[at.y], mask[at.z], mask[at.w]);
      let hidden = (cols >= vec4<u32>(select(p.S, min(p.S, (row0 + ty + 16u) + 1u), p.causal != 0u))) | ((given != vec4<u32>(0u)) != vec4<bool>(p.shown != 0u));
      s1 = select(s1 * p.scale, vec4<f32>(minusInfinity()), hidden);
      let weights = exp(s1 - vec4<f32>(most1)) * share1;
      let score = weights * (w1 - vec4<f32>(pull1)) * p.scale;
      s1 = select(score, vec4<f32>(0.0), hidden);
    }
    {
      let at = vec4<u32>(maskBase + min((row0 + ty + 32u), p.L - 1u) * p.maskRow) + min(cols, vec4<u32>(p.S - 1u)) * p.maskCol;
      let given = vec4<u32>(mask[at.x], mask[at.y], mask[at.z], mask[at.w]);
      let hidden = (cols >= vec4<u32>(select(p.S, min(p.S, (row0 + ty + 32u) + 1u), p.causal != 0u))) | ((given != vec4<u32>(0u)) != vec4<bool>(p.shown != 0u));
      s2 = select(s2 * p.scale, vec4<f32>(minusInfinity()), hidden);
      let weights = exp(s2 - vec4<f32>(most2)) * share2;
      let score = weights * (w2 - vec4<f32>(pull2)) * p.scale;
      s2 = select(score, vec4<f32>(0.0), hidden);
    }
    {
      let at = vec4<u32>(maskBase + min((row0 + ty + 48u), p.L - 1u) * p.maskRow) + min(cols, vec4<u32>(p.S - 1u)) * p.maskCol;
      let given = vec4<u32>(mask[at.x], mask[at.y], mask[at.z], mask[at.w]);
      let hidden = (cols >= vec4<u32>(select(p.S, min(p.S, (row0 + ty + 48u) + 1u), p.causal != 0u))) | ((given != vec4<u32>(0u)) != vec4<bool>(p.shown != 0u));
      s3 = select(s3 * p.scale, vec4<f32>(minusInfinity()), hidden);
      let weights = exp(s3 - vec4<f32>(most3)) * share3;
      let score = weights * (w3 - vec4<f32>(pull3)) * p.scale;
      s3 = select(score, vec4<f32>(0.0), hidden);
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
          let source = kBase + min(c, p.S - 1u) * p.kRow + min(e, p.E - 1u);
          tile[512u + i] = select(vec4<f32>(0.0), k[source], c < p.S && e < p.E);
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
      d0_0 += block0_0;
      d0_1 += block0_1;
      d1_0 += block1_0;
      d1_1 += block1_1;
      d2_0 += block2_0;
      d2_1 += block2_1;
      d3_0 += block3_0;
      d3_1 += block3_1;
    }
  }
  if ((row0 + ty + 0u) < p.L) {
    let to = dqBase + (row0 + ty + 0u) * p.dqRow;
    if (tx + 0u < p.E) { dq[to + tx + 0u] = d0_0; }
    if (tx + 8u < p.E) { dq[to + tx + 8u] = d0_1; }
  }
  if ((row0 + ty + 16u) < p.L) {
    let to = dqBase + (row0 + ty + 16u) * p.dqRow;
    if (tx + 0u < p.E) { dq[to + tx + 0u] = d1_0; }
    if (tx + 8u < p.E) { dq[to + tx + 8u] = d1_1; }
  }
  if ((row0 + ty + 32u) < p.L) {
    let to = dqBase + (row0 + ty + 32u) * p.dqRow;
    if (tx + 0u < p.E) { dq[to + tx + 0u] = d2_0; }
    if (tx + 8u < p.E) { dq[to + tx + 8u] = d2_1; }
  }
  if ((row0 + ty + 48u) < p.L) {
    let to = dqBase + (row0 + ty + 48u) * p.dqRow;
    if (tx + 0u < p.E) { dq[to + tx + 0u] = d3_0; }
    if (tx + 8u < p.E) { dq[to + tx + 8u] = d3_1; }
  }
}
