// gemm
// p: M: u32, N: u32, K: u32, lda: u32, ldb: u32, ldc: u32, aOff: u32, bOff: u32, cOff: u32, aBatch: u32, bBatch: u32, cBatch: u32, chunk: u32, splits: u32, colBlocks: u32, residualOff: u32
@group(0) @binding(0) var<storage, read> a: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> b: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> out: array<vec4<f32>>;
var<workgroup> left: array<vec4<f32>, 64>;
var<workgroup> right: array<vec4<f32>, 64>;
@compute @workgroup_size(8, 8)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(num_workgroups) nwg: vec3<u32>, @builtin(local_invocation_id) lid: vec3<u32>) {
  let lane = lid.x;
  let colBlock = wid.y % p.colBlocks;
  let row0 = ((wid.y / p.colBlocks) * nwg.x + wid.x) * 32u + lid.y * 4u;
  let col = colBlock * 8u + lane;
  let tid = lid.y * 8u + lid.x;
  let blockRow = row0 - lid.y * 4u;
  let batch = wid.z / p.splits;
  let split = wid.z - batch * p.splits;
  let kStart = split * p.chunk;
  let kEnd = min(p.K, kStart + p.chunk);
  let aBase = p.aOff + batch * p.aBatch;
  let bBase = p.bOff + batch * p.bBatch;
  let cBase = p.cOff + batch * p.cBatch + split * p.M * p.ldc * u32(p.splits > 1u);
  let colC = min((colBlock * 8u + tid % 8u) * 4u, p.N - 4u);
  let aRow0 = aBase + min(blockRow + tid / 2u + 0u, p.M - 1u) * p.lda;
  var c0 = vec4<f32>(0.0);
  var c1 = vec4<f32>(0.0);
  var c2 = vec4<f32>(0.0);
  var c3 = vec4<f32>(0.0);
  var k = kStart;
  var a0 = vec4<f32>(0.0);
  var b0 = vec4<f32>(0.0);
  let slices = (kEnd - kStart + 7u) / 8u;
  for (var slice = 0u; slice <= slices; slice++) {
    if (slice < slices) {
      a0 = a[(aRow0 + (k + (tid & 1u) * 4u)) >> 2u];
      b0 = b[(bBase + ((k + (tid / 8u + 0u))) * p.ldb + colC) / 4u];
      k += 8u;
    }
    if (slice > 0u) {
      let leftFrom = 0u;
      let rightFrom = 0u + lid.x;
      for (var kk = 0u; kk < 2u; kk++) {
        let a0 = left[leftFrom + (lid.y * 4u + 0u) * 2u + kk];
        let a1 = left[leftFrom + (lid.y * 4u + 1u) * 2u + kk];
        let a2 = left[leftFrom + (lid.y * 4u + 2u) * 2u + kk];
        let a3 = left[leftFrom + (lid.y * 4u + 3u) * 2u + kk];
        {
          let b0 = right[rightFrom + (kk * 4u + 0u) * 8u + 0u];
          let b1 = right[rightFrom + (kk * 4u + 1u) * 8u + 0u];
          let b2 = right[rightFrom + (kk * 4u + 2u) * 8u + 0u];
          let b3 = right[rightFrom + (kk * 4u + 3u) * 8u + 0u];
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
    }
    if (slice == slices) { break; }
    workgroupBarrier();
    left[tid + 0u] = a0;
    right[tid] = b0;
    workgroupBarrier();
  }
  if (!(col * 4u < p.N)) { return; }
  if (row0 + 0u < p.M) {  { var v = c0; out[(cBase + (row0 + 0u) * p.ldc + col * 4u) / 4u] = v; } }
  if (row0 + 1u < p.M) {  { var v = c1; out[(cBase + (row0 + 1u) * p.ldc + col * 4u) / 4u] = v; } }
  if (row0 + 2u < p.M) {  { var v = c2; out[(cBase + (row0 + 2u) * p.ldc + col * 4u) / 4u] = v; } }
  if (row0 + 3u < p.M) {  { var v = c3; out[(cBase + (row0 + 3u) * p.ldc + col * 4u) / 4u] = v; } }
}
