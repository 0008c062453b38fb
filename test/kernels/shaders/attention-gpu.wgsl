// attention
// p: L: u32, S: u32, E: u32, V: u32, heads: u32, group: u32, blocks: u32, total: u32, causal: u32, shown: u32, scale: f32, statsBatch: u32, statsOff: u32, plane: u32, maskBatch: u32, maskHead: u32, maskRow: u32, maskCol: u32, maskOff: u32, qBatch: u32, qHead: u32, qRow: u32, qOff: u32, kBatch: u32, kHead: u32, kRow: u32, kOff: u32, vBatch: u32, vHead: u32, vRow: u32, vOff: u32, oBatch: u32, oHead: u32, oRow: u32, oOff: u32
@group(0) @binding(0) var<storage, read> q: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> k: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> v: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> o: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> mask: array<u32>;
@group(0) @binding(5) var<storage, read_write> stats: array<f32>;
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
  let qBase = p.qOff + n * p.qBatch + h * p.qHead;
  let kvHead = h / p.group;
  let kBase = p.kOff + n * p.kBatch + kvHead * p.kHead;
  let vBase = p.vOff + n * p.vBatch + kvHead * p.vHead;
  let oBase = p.oOff + n * p.oBatch + h * p.oHead;
  let statsBase = p.statsOff + n * p.statsBatch + h * p.L;
  let maskBase = p.maskOff + n * p.maskBatch + h * p.maskHead;
  var o0_0 = vec4<f32>(0.0);
  var o0_1 = vec4<f32>(0.0);
  var o1_0 = vec4<f32>(0.0);
  var o1_1 = vec4<f32>(0.0);
  var o2_0 = vec4<f32>(0.0);
  var o2_1 = vec4<f32>(0.0);
  var o3_0 = vec4<f32>(0.0);
  var o3_1 = vec4<f32>(0.0);
  var most0 = -3.402823466e+38;
  var all0 = 0.0;
  var most1 = -3.402823466e+38;
  var all1 = 0.0;
  var most2 = -3.402823466e+38;
  var all2 = 0.0;
  var most3 = -3.402823466e+38;
  var all3 = 0.0;
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
    var part0 = 0.0;
    var part1 = 0.0;
    var part2 = 0.0;
    var part3 = 0.0;
    {
      let at = vec4<u32>(maskBase + min((row0 + ty + 0u), p.L - 1u) * p.maskRow) + min(cols, vec4<u32>(p.S - 1u)) * p.maskCol;
      let given = vec4<u32>(mask[at.x], mask[at.y], mask[at.z], mask[at.w]);
      let hidden = (cols >= vec4<u32>(select(p.S, min(p.S, (row0 + ty + 0u) + 1u), p.causal != 0u))) | ((given != vec4<u32>(0u)) != vec4<bool>(p.shown != 0u));
      s0 = select(s0 * p.scale, vec4<f32>(minusInfinity()), hidden);
      part0 = max(max(s0.x, s0.y), max(s0.z, s0.w));
    }
    {
      let at = vec4<u32>(maskBase + min((row0 + ty + 16u), p.L - 1u) * p.maskRow) + min(cols, vec4<u32>(p.S - 1u)) * p.maskCol;
      let given = vec4<u32>(mask[at.x], mask[at.y], mask[at.z], mask[at.w]);
      let hidden = (cols >= vec4<u32>(select(p.S, min(p.S, (row0 + ty + 16u) + 1u), p.causal != 0u))) | ((given != vec4<u32>(0u)) != vec4<bool>(p.shown != 0u));
      s1 = select(s1 * p.scale, vec4<f32>(minusInfinity()), hidden);
      part1 = max(max(s1.x, s1.y), max(s1.z, s1.w));
    }
    {
      let at = vec4<u32>(maskBase + min((row0 + ty + 32u), p.L - 1u) * p.maskRow) + min(cols, vec4<u32>(p.S - 1u)) * p.maskCol;
      let given = vec4<u32>(mask[at.x], mask[at.y], mask[at.z], mask[at.w]);
      let hidden = (cols >= vec4<u32>(select(p.S, min(p.S, (row0 + ty + 32u) + 1u), p.causal != 0u))) | ((given != vec4<u32>(0u)) != vec4<bool>(p.shown != 0u));
      s2 = select(s2 * p.scale, vec4<f32>(minusInfinity()), hidden);
      part2 = max(max(s2.x, s2.y), max(s2.z, s2.w));
    }
    {
      let at = vec4<u32>(maskBase + min((row0 + ty + 48u), p.L - 1u) * p.maskRow) + min(cols, vec4<u32>(p.S - 1u)) * p.maskCol;
      let given = vec4<u32>(mask[at.x], mask[at.y], mask[at.z], mask[at.w]);
      let hidden = (cols >= vec4<u32>(select(p.S, min(p.S, (row0 + ty + 48u) + 1u), p.causal != 0u))) | ((given != vec4<u32>(0u)) != vec4<bool>(p.shown != 0u));
      s3 = select(s3 * p.scale, vec4<f32>(minusInfinity()), hidden);
      part3 = max(max(s3.x, s3.y), max(s3.z, s3.w));
    }
    workgroupBarrier();
    tile[ty * 8u + tx] = vec4<f32>(part0, part1, part2, part3);
    workgroupBarrier();
    var top = tile[ty * 8u];
    for (var i = 1u; i < 8u; i++) { top = max(top, tile[ty * 8u + i]); }
    let top0 = top.x;
    let top1 = top.y;
    let top2 = top.z;
    let top3 = top.w;
    let new0 = max(most0, top0);
    let keep0 = exp(most0 - new0);
    most0 = new0;
    o0_0 *= keep0;
    o0_1 *= keep0;
    let new1 = max(most1, top1);
    let keep1 = exp(most1 - new1);
    most1 = new1;
    o1_0 *= keep1;
    o1_1 *= keep1;
    let new2 = max(most2, top2);
    let keep2 = exp(most2 - new2);
    most2 = new2;
    o2_0 *= keep2;
    o2_1 *= keep2;
    let new3 = max(most3, top3);
    let keep3 = exp(most3 - new3);
    most3 = new3;
    o3_0 *= keep3;
    o3_1 *= keep3;
    {
      s0 = exp(s0 - vec4<f32>(most0));
      part0 = ((s0.x + s0.y) + (s0.z + s0.w));
      s1 = exp(s1 - vec4<f32>(most1));
      part1 = ((s1.x + s1.y) + (s1.z + s1.w));
      s2 = exp(s2 - vec4<f32>(most2));
      part2 = ((s2.x + s2.y) + (s2.z + s2.w));
      s3 = exp(s3 - vec4<f32>(most3));
      part3 = ((s3.x + s3.y) + (s3.z + s3.w));
    }
    all0 = all0 * keep0 + part0;
    all1 = all1 * keep1 + part1;
    all2 = all2 * keep2 + part2;
    all3 = all3 * keep3 + part3;
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
          let source = vBase + min(c, p.S - 1u) * p.vRow + min(e, p.V - 1u);
          tile[512u + i] = select(vec4<f32>(0.0), v[source], c < p.S && e < p.V);
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
      o0_0 += block0_0;
      o0_1 += block0_1;
      o1_0 += block1_0;
      o1_1 += block1_1;
      o2_0 += block2_0;
      o2_1 += block2_1;
      o3_0 += block3_0;
      o3_1 += block3_1;
    }
  }
  workgroupBarrier();
  tile[ty * 8u + tx] = vec4<f32>(all0, all1, all2, all3);
  workgroupBarrier();
  var sum = tile[ty * 8u];
  for (var i = 1u; i < 8u; i++) { sum = sum + tile[ty * 8u + i]; }
  let sum0 = sum.x;
  let sum1 = sum.y;
  let sum2 = sum.z;
  let sum3 = sum.w;
  o0_0 /= vec4<f32>(sum0);
  o0_1 /= vec4<f32>(sum0);
  o1_0 /= vec4<f32>(sum1);
  o1_1 /= vec4<f32>(sum1);
  o2_0 /= vec4<f32>(sum2);
  o2_1 /= vec4<f32>(sum2);
  o3_0 /= vec4<f32>(sum3);
  o3_1 /= vec4<f32>(sum3);
  if ((row0 + ty + 0u) < p.L) {
    let to = oBase + (row0 + ty + 0u) * p.oRow;
    if (tx + 0u < p.V) { o[to + tx + 0u] = o0_0; }
    if (tx + 8u < p.V) { o[to + tx + 8u] = o0_1; }
  }
  if ((row0 + ty + 16u) < p.L) {
    let to = oBase + (row0 + ty + 16u) * p.oRow;
    if (tx + 0u < p.V) { o[to + tx + 0u] = o1_0; }
    if (tx + 8u < p.V) { o[to + tx + 8u] = o1_1; }
  }
  if ((row0 + ty + 32u) < p.L) {
    let to = oBase + (row0 + ty + 32u) * p.oRow;
    if (tx + 0u < p.V) { o[to + tx + 0u] = o2_0; }
    if (tx + 8u < p.V) { o[to + tx + 8u] = o2_1; }
  }
  if ((row0 + ty + 48u) < p.L) {
    let to = oBase + (row0 + ty + 48u) * p.oRow;
    if (tx + 0u < p.V) { o[to + tx + 0u] = o3_0; }
    if (tx + 8u < p.V) { o[to + tx + 8u] = o3_1; }
  }
  if (tx == 0u) {
    if ((row0 + ty + 0u) < p.L) {
      stats[statsBase + (row0 + ty + 0u)] = most0;
      stats[p.plane + statsBase + (row0 + ty + 0u)] = 1.0 / sum0;
    }
    if ((row0 + ty + 16u) < p.L) {
      stats[statsBase + (row0 + ty + 16u)] = most1;
      stats[p.plane + statsBase + (row0 + ty + 16u)] = 1.0 / sum1;
    }
    if ((row0 + ty + 32u) < p.L) {
      stats[statsBase + (row0 + ty + 32u)] = most2;
      stats[p.plane + statsBase + (row0 + ty + 32u)] = 1.0 / sum2;
    }
    if ((row0 + ty + 48u) < p.L) {
      stats[statsBase + (row0 + ty + 48u)] = most3;
      stats[p.plane + statsBase + (row0 + ty + 48u)] = 1.0 / sum3;
    }
  }
}
