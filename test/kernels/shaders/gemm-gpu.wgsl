// gemm
// p: M: u32, N: u32, K: u32, lda: u32, ldb: u32, ldc: u32, aOff: u32, bOff: u32, cOff: u32, aBatch: u32, bBatch: u32, cBatch: u32, chunk: u32, splits: u32, colBlocks: u32, residualOff: u32
@group(0) @binding(0) var<storage, read> a: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> b: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> out: array<vec4<f32>>;
var<workgroup> left: array<vec4<f32>, 256>;
var<workgroup> right: array<vec4<f32>, 256>;
@compute @workgroup_size(16, 16)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_id) lid: vec3<u32>) {
  let lane = lid.x;
  let colBlock = wid.y % p.colBlocks;
  let row0 = ((wid.y / p.colBlocks) * nwg.x + wid.x) * 64u + lid.y * 4u;
  let col = colBlock * 16u + lane;
  let tid = lid.y * 16u + lid.x;
  let blockRow = row0 - lid.y * 4u;
  let batch = wid.z / p.splits;
  let split = wid.z - batch * p.splits;
  let kStart = split * p.chunk;
  let kEnd = min(p.K, kStart + p.chunk);
  let aBase = p.aOff + batch * p.aBatch;
  let bBase = p.bOff + batch * p.bBatch;
  let cBase = p.cOff + batch * p.cBatch + split * p.M * p.ldc * u32(p.splits > 1u);
  let colC = min((colBlock * 16u + (tid & 15u)) * 4u, p.N - 4u);
  let aRow0 = aBase + min(blockRow + (tid >> 2u), p.M - 1u) * p.lda;
  var c0 = vec4<f32>(0.0);
  var c1 = vec4<f32>(0.0);
  var c2 = vec4<f32>(0.0);
  var c3 = vec4<f32>(0.0);
  for (var k = kStart; k < kEnd; k += 16u) {
    let a0 = a[(aRow0 + (k + (tid & 3u) * 4u)) >> 2u];
    let b0 = b[(bBase + ((k + (tid >> 4u))) * p.ldb + colC) / 4u];
    workgroupBarrier();
    left[tid] = a0;
    right[tid] = b0;
    workgroupBarrier();
    for (var kk = 0u; kk < 4u; kk++) {
      let a0 = left[(lid.y * 4u + 0u) * 4u + kk];
      let a1 = left[(lid.y * 4u + 1u) * 4u + kk];
      let a2 = left[(lid.y * 4u + 2u) * 4u + kk];
      let a3 = left[(lid.y * 4u + 3u) * 4u + kk];
      let b0 = right[(kk * 4u + 0u) * 16u + lid.x];
      let b1 = right[(kk * 4u + 1u) * 16u + lid.x];
      let b2 = right[(kk * 4u + 2u) * 16u + lid.x];
      let b3 = right[(kk * 4u + 3u) * 16u + lid.x];
      c0 += a0.x * b0;
      c0 += a0.y * b1;
      c0 += a0.z * b2;
      c0 += a0.w * b3;
      c1 += a1.x * b0;
      c1 += a1.y * b1;
      c1 += a1.z * b2;
      c1 += a1.w * b3;
      c2 += a2.x * b0;
      c2 += a2.y * b1;
      c2 += a2.z * b2;
      c2 += a2.w * b3;
      c3 += a3.x * b0;
      c3 += a3.y * b1;
      c3 += a3.z * b2;
      c3 += a3.w * b3;
    }
  }
  if (!(col * 4u < p.N)) { return; }
  if (row0 + 0u < p.M) {  { var v = c0; out[(cBase + (row0 + 0u) * p.ldc + col * 4u) / 4u] = v; } }
  if (row0 + 1u < p.M) {  { var v = c1; out[(cBase + (row0 + 1u) * p.ldc + col * 4u) / 4u] = v; } }
  if (row0 + 2u < p.M) {  { var v = c2; out[(cBase + (row0 + 2u) * p.ldc + col * 4u) / 4u] = v; } }
  if (row0 + 3u < p.M) {  { var v = c3; out[(cBase + (row0 + 3u) * p.ldc + col * 4u) / 4u] = v; } }
}
