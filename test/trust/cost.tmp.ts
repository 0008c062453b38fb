import { loadCheckpoint, saveSafetensors, encodeTorch, HostTensor, loadValue, layoutSafetensors } from '../../src/formats/index.js';
import { crc32 } from '../../src/formats/crc32.js';
import { readFileSync, writeFileSync } from 'node:fs';
const path='/work/shared/data/imagenet_resnet50/resnet50.pth';
const cpu=()=>{const c=process.cpuUsage(); return (c.user+c.system)/1000;};
async function read(p: string, verify: boolean){ const t=cpu(), w=performance.now(); const { tensors }=await loadCheckpoint(p,{verify}); let n=0; for(const x of tensors.values()) for await (const c of x.chunks(4*1024*1024)) n+=c.length; return [cpu()-t, performance.now()-w, n]; }
async function best(name: string, f: ()=>Promise<number[]>){ let b=[1e9,1e9,0]; for(let i=0;i<7;i++){const r=await f(); b=[Math.min(b[0]!,r[0]!),Math.min(b[1]!,r[1]!),r[2]!];} console.log(name, 'cpu', b[0]!.toFixed(0), 'wall', b[1]!.toFixed(0), 'ms', (b[2]!/1e6).toFixed(0),'MB'); }
const bytes=new Uint8Array(100e6); { let t=1e9; for(let i=0;i<9;i++){const s=cpu(); crc32(bytes); t=Math.min(t,cpu()-s);} console.log('crc32 of 100 MB', t.toFixed(1),'ms cpu'); }
await best('pth verify', ()=>read(path,true)); await best('pth no verify', ()=>read(path,false));
const { tensors } = await loadCheckpoint(path);
const out='/tmp/f/r50.safetensors';
await best('safetensors save', async()=>{const t=cpu(), w=performance.now(); await saveSafetensors(out,tensors); return [cpu()-t, performance.now()-w, 100e6];});
await best('st verify', ()=>read(out,true)); await best('st no verify', ()=>read(out,false));
// memory of a tensor handle
const big=JSON.stringify(Object.fromEntries(Array.from({length:50000},(_,i)=>[`layer${i}.weight`,{dtype:'F32',shape:[1],data_offsets:[4*i,4*i+4]}])));
const head=new TextEncoder().encode(big); const f=new Uint8Array(8+head.length+200000); new DataView(f.buffer).setBigUint64(0,BigInt(head.length),true); f.set(head,8);
gc!(); const b=process.memoryUsage(); const t0=performance.now(); const c=await loadCheckpoint(f,{limits:{memory:1e9}}); const t1=performance.now(); gc!(); const e=process.memoryUsage(); console.log('per tensor', ((e.heapUsed+e.external-b.heapUsed-b.external)/50000).toFixed(0),'bytes', (t1-t0).toFixed(0),'ms', c.tensors.size);
