import type { Kernel } from '../../src/kernels/base/kernel.js';

/** `y[i] = y[i] * scale + add` over `n` floats. */
export const affine: Kernel = {
  name: 'affine',
  bindings: ['write'],
  params: [
    ['n', 'u32'],
    ['add', 'i32'],
    ['scale', 'f32'],
  ],
  wgsl: `
@group(0) @binding(0) var<storage, read_write> y: array<f32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x < p.n) { y[id.x] = y[id.x] * p.scale + f32(p.add); }
}`,
};

/** `y[i] = x[i] + 1` over 64 floats, without parameters. */
export const addOne: Kernel = {
  name: 'addOne',
  bindings: ['read', 'write'],
  params: [],
  wgsl: `
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@compute @workgroup_size(64)
fn main(@builtin(local_invocation_id) id: vec3u) { y[id.x] = x[id.x] + 1.0; }`,
};
