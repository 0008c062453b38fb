/** Hand-made files that try to block the reader, fill the memory, run code, or write to the terminal. */

import { deflateRawSync } from 'node:zlib';
import { npyFile, safetensorsFile } from './mutants.js';
import { buildZip, type Part } from './zip-builder.js';

export interface Attack {
  readonly name: string;
  readonly bytes: () => Uint8Array;
  /** What the refusal says; each also has to name the file. */
  readonly refusal: RegExp;
}

const latin1 = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'latin1'));
const u32 = (value: number): string =>
  String.fromCharCode(value & 255, (value >>> 8) & 255, (value >>> 16) & 255, value >>> 24);
const text = (value: string): string => `X${u32(value.length)}${value}`;

const part = (name: string, data: string | Uint8Array, more: Partial<Part> = {}): Part => ({
  name: `archive/${name}`,
  data: typeof data === 'string' ? latin1(data) : data,
  ...more,
});

/** A zip `.pth` whose description is this pickle. */
const zip = (
  pickle: string | Uint8Array,
  more: Partial<Part> = {},
  others: readonly Part[] = [],
): Uint8Array => buildZip([part('data.pkl', pickle, more), ...others]).bytes;

/** A legacy file whose object is this pickle. */
const legacy = (pickle: string, rest = '].'): Uint8Array =>
  latin1(
    `\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.\x80\x02}.${pickle}${rest}`,
  );

const storage = (elements: string, key = text('0'), type = 'FloatStorage'): string =>
  `(${text('storage')}ctorch\n${type}\n${key}${text('cpu')}${elements}tQ`;
const rebuild = (elements: string, offset: string, shape: string, strides: string): string =>
  `ctorch._utils\n_rebuild_tensor_v2\n(${storage(elements)}${offset}(${shape}t(${strides}t\x89}tR`;
const withStorage = (pickle: string): Uint8Array => zip(pickle, {}, [part('data/0', new Uint8Array(16))]);

const tensors = (header: unknown, data = 8): Uint8Array =>
  safetensorsFile(typeof header === 'string' ? header : JSON.stringify(header), new Uint8Array(data));
const one = { dtype: 'F32', shape: [2], data_offsets: [0, 8] };

const npy = (header: string, data = 8): Uint8Array => npyFile(header, new Uint8Array(data));
const npz = (data: Uint8Array, more: Partial<Part> = {}): Uint8Array =>
  buildZip([{ name: 'a.npy', data, ...more }]).bytes;
const words = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }";

/** A zip whose directory is changed field by field. */
function changed(
  bytes: Uint8Array,
  change: (view: DataView, directory: number, end: number) => void,
): Uint8Array {
  const out = bytes.slice();
  const view = new DataView(out.buffer);
  const end = out.length - 22;
  change(view, view.getUint32(end + 16, true), end);
  return out;
}

/** A pickle of so many keys that V8's hash cannot tell apart. */
function collisions(count: number): string {
  let pickle = '}(';
  for (let i = 0; i < count; i++)
    pickle += `\x8a\x0c\x05\0\0\0\0\0\0\0${String.fromCharCode(i & 255, (i >> 8) & 255, (i >> 16) & 127)}\x01N`;
  return `${pickle}u.`;
}

const memory = /host memory.*limits: \{ memory: \d+ \}/s;
const notAllowed = /not among the names.*nothing was executed/s;

export const attacks: readonly Attack[] = [
  // ---- those of the campaign that found them
  { name: 'a key that holds itself twice, forty levels deep', bytes: () => zip(`})${'2\x86'.repeat(40)}K\x01s.`), refusal: /no state dict found/ },
  { name: 'the same as the number of a torch.device', bytes: () => zip(`ctorch\ndevice\n()${'2\x86'.repeat(40)}tR.`), refusal: /torch\.device is named by something else/ },
  { name: 'a float of 80,000 digits and a letter', bytes: () => zip(`F${'1'.repeat(80_000)}x\n.`), refusal: /bad number/ },
  { name: '1.9 million dicts', bytes: () => zip('}'.repeat(1_900_000)), refusal: memory },
  { name: '300 MB of None in 292 KB', bytes: () => zip(new Uint8Array(300e6).fill(78), { deflated: true }), refusal: /takes 286\.1 MiB.*limits: \{ memory/s },
  { name: 'a million tensors in a header of 58 MB', bytes: () => tensors(`{${'"aaaaaaa":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},'.repeat(999_999)}"b":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}`, 0), refusal: /1,000,000 tensors.*at most 100,000.*limits: \{ tensors: 1000000 \}/s },
  { name: 'a dtype that is an object with a toString', bytes: () => tensors({ a: { ...one, dtype: { toString: 1 } } }), refusal: /dtype <object>, which is not supported/ },
  { name: 'a dtype of 5,000 nested lists', bytes: () => tensors(`{"a":{"dtype":${'['.repeat(5000)}${']'.repeat(5000)},"shape":[2],"data_offsets":[0,8]}}`), refusal: /nested 5002 deep, and at most 64/ },
  { name: 'a dtype that is a list', bytes: () => tensors({ a: { ...one, dtype: ['F32'] } }), refusal: /dtype \["F32"\], which is not supported/ },
  { name: 'a torch.device of a list nested 20,000 deep', bytes: () => zip(`ctorch\ndevice\n(${']'.repeat(20_000)}${'a'.repeat(19_999)}tR.`), refusal: /torch\.device is named/ },
  { name: 'a shard that is an object', bytes: () => latin1('{"weight_map":{"a":{"toString":1}}}'), refusal: /<object>, which is no name of a file/ },
  // ---- time
  { name: 'an integer of 5,000 digits', bytes: () => zip(`I${'9'.repeat(5000)}\n.`), refusal: /bad integer/ },
  { name: 'a megabyte of digits as a long', bytes: () => zip(`L${'9'.repeat(1e6)}L\n.`), refusal: /bad integer/ },
  { name: 'a binary integer of 60,000 bytes', bytes: () => zip(`\x8b${u32(60_000)}${'\x01'.repeat(60_000)}.`), refusal: /integer of 60000 bytes/ },
  { name: '100,000 integer keys of one hash', bytes: () => zip(collisions(100_000)), refusal: /more than 10,000 keys are fractions or large integers.*numberKeys/s },
  { name: 'the same as members of a set', bytes: () => zip(collisions(100_000).replace('}(', '\x8f(').replace(/u\.$/, '\x90.')), refusal: /numberKeys/ },
  { name: 'fractions as keys, by an OrderedDict of pairs', bytes: () => zip(`ccollections\nOrderedDict\n((l${Array.from({ length: 20_000 }, (_, i) => `G\x3f${String.fromCharCode(i >> 8, i & 255)}\0\0\0\0\x01N\x86a`).join('')}tR.`), refusal: /numberKeys/ },
  { name: 'memo indices of one hash', bytes: () => zip(`N${Array.from({ length: 50_000 }, (_, i) => `r${u32(i * 65536 + 77)}`).join('')}.`), refusal: /memo index \d+ in a pickle of/ },
  { name: 'a long string copied a hundred thousand times', bytes: () => zip(`c_codecs\nencode\nq\0(${text('a'.repeat(100_000))}${text('latin1')}tq\x01R0${'h\0h\x01R0'.repeat(100_000)}N.`), refusal: /far more work than its size/ },
  { name: 'bytes turned into text a hundred thousand times', bytes: () => zip(`ctorch.serialization\n_get_layout\nq\0(B${u32(200_000)}${'a'.repeat(200_000)}tq\x010${'h\0h\x01R0'.repeat(100_000)}N.`), refusal: /far more work/ },
  { name: 'one list made a set ten thousand times', bytes: () => zip(`c__builtin__\nset\nq\0((l${'K\x01a'.repeat(50_000)}tq\x010${'h\0h\x01R0'.repeat(50_000)}N.`), refusal: /far more work|host memory/ },
  { name: 'a numpy text of zeros with something behind them', bytes: () => zip(`cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(${text('U9')}K\0K\x01tRB${u32(800_004)}${'\0'.repeat(800_000)}a\0\0\0tR.`), refusal: /holds a string, not a state dict/ },
  { name: 'a long key under which 100,000 dicts lie', bytes: () => zip(`}q\x01${text('k'.repeat(1e6))}q\0h\x01s0}${`h\0}s`.repeat(100_000)}.`), refusal: /items are set on|no state dict|holds/ },
  { name: 'a state dict with a key of a million dots', bytes: () => withStorage(`}${text('.'.repeat(1e6))}${rebuild('K\x04', 'K\0', 'K\x09', 'K\x01')}s.`), refusal: /reaches past its storage/ },
  { name: 'a number of a header that is a long row of digits', bytes: () => tensors(`{"a":{"dtype":"F32","shape":[${'9'.repeat(1e6)}],"data_offsets":[0,8]}}`), refusal: /no valid shape/ },
  { name: 'a header of .npy full of spaces', bytes: () => npy(`{'descr'${' '.repeat(60_000)}`), refusal: /bad \.npy header/ },
  { name: 'a header of .npy full of descr', bytes: () => npy(`{${`'descr':'`.repeat(7000)}`), refusal: /bad \.npy header|dtype/ },
  { name: 'a directory that claims 65,535 entries', bytes: () => changed(zip('N.'), (view, _, end) => view.setUint16(end + 10, 65535, true)), refusal: /does not fit/ },
  // ---- memory
  { name: 'two million lists', bytes: () => zip(']'.repeat(2_000_000)), refusal: memory },
  { name: 'two million sets', bytes: () => zip('\x8f'.repeat(2_000_000)), refusal: memory },
  { name: 'two million marks', bytes: () => zip('('.repeat(2_000_000)), refusal: memory },
  { name: 'empty tuples that are appended to', bytes: () => zip(`${')Na'.repeat(700_000)}.`), refusal: memory },
  { name: 'a million empty byte strings', bytes: () => zip(`${'C\0'.repeat(1_000_000)}.`), refusal: memory },
  { name: 'eight million None', bytes: () => zip('N'.repeat(8_000_000)), refusal: memory },
  { name: 'a memo entry for every byte', bytes: () => zip(`N${'\x94'.repeat(3_000_000)}.`), refusal: memory },
  { name: 'a million objects of a foreign class', bytes: () => zip(`cmine\nC\nq\0${'h\0)\x81'.repeat(500_000)}.`), refusal: memory },
  { name: 'half a million foreign classes', bytes: () => zip(`${Array.from({ length: 200_000 }, (_, i) => `cm${i}\nC\n`).join('')}.`), refusal: memory },
  { name: 'a dict copied again and again', bytes: () => zip(`ccollections\nOrderedDict\nq\0(}(${Array.from({ length: 2000 }, (_, i) => `M${String.fromCharCode(i & 255, i >> 8)}N`).join('')}utq\x01${'h\0h\x01R'.repeat(20_000)}.`), refusal: /far more work|host memory/ },
  { name: 'the same in a legacy file', bytes: () => legacy('}'.repeat(1_900_000)), refusal: memory },
  { name: 'a legacy file that ends in the middle of 2 million lists', bytes: () => legacy(`(${']'.repeat(400_000)}`, ''), refusal: /truncated|host memory/ },
  { name: 'an entry of .npz that claims what it has not', bytes: () => npz(new Uint8Array(300), { deflated: true, size: 2 ** 31 }), refusal: /claims 2147483648 bytes/ },
  { name: '100,001 entries in an archive', bytes: () => buildZip(Array.from({ length: 60_000 }, (_, i) => ({ name: `${i}`, data: new Uint8Array(0) }))).bytes, refusal: /not one by torch\.save|entries/ },
  { name: 'a header of two gigabytes', bytes: () => safetensorsFile('{', new Uint8Array(8), 2 ** 31), refusal: /header needs bytes 8 to 2147483656/ },
  { name: 'a header past the end', bytes: () => safetensorsFile('{}', new Uint8Array(0), 50_000_000), refusal: /header needs bytes/ },
  { name: 'a header of empty objects', bytes: () => tensors(`{"a":[${'{},'.repeat(3_000_000)}{}]}`), refusal: /objects, .* commas.*limits: \{ memory/s },
  { name: 'a header of a million members of metadata', bytes: () => tensors(`{"__metadata__":{${Array.from({ length: 1_000_000 }, (_, i) => `"${i}":"b"`).join(',')}}}`), refusal: /1000001 members.*limits: \{ memory/s },
  { name: 'a header of a long list', bytes: () => tensors(`{"a":[${'0,'.repeat(8_000_000)}0]}`), refusal: /takes \d.*limits: \{ memory/s },
  { name: 'a header of deep objects', bytes: () => tensors(`${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}`), refusal: /nested 100000 deep/ },
  { name: 'an index of a million tensors', bytes: () => latin1(`{"weight_map":{${'"a":"b",'.repeat(1_000_000)}"c":"d"}}`), refusal: /1,000,001 tensors/ },
  { name: 'an index nested 100,000 deep', bytes: () => latin1(`{"weight_map":${'['.repeat(100_000)}`), refusal: /nested 100001 deep/ },
  { name: 'a tensor of a stride of 0 and terabytes', bytes: () => withStorage(`}${text('a')}${rebuild('K\x04', 'K\0', 'J\xff\xff\xff\x7fJ\xff\xff\0\0', 'K\0K\0')}s.`), refusal: /expands a storage of 16 bytes.*expandedBytes/s },
  { name: 'a tensor of a stride of 0 and half a gigabyte', bytes: () => withStorage(`}${text('a')}${rebuild('K\x04', 'K\0', 'J\0\0\0\x08', 'K\0')}s.`), refusal: /expands a storage.*expandedBytes/s },
  { name: 'a numpy array with a hundred dimensions', bytes: () => zip(`cnumpy.core.multiarray\n_reconstruct\n)R(K\x01(${'K\x01'.repeat(100)}tcnumpy\ndtype\n(${text('f8')}tR\x89C\x08${'\0'.repeat(8)}tb.`), refusal: /numpy array has an unknown state/ },
  { name: 'values nested 200,000 deep', bytes: () => zip(`}K\x01${']'.repeat(200_000)}${'a'.repeat(199_999)}s.`), refusal: /nested more than 1000 deep.*limits: \{ depth/s },
  { name: 'a list that claims 2^32 characters', bytes: () => zip('X\xff\xff\xff\xff'), refusal: /truncated/ },
  { name: 'bytes that claim 2^63', bytes: () => zip(`\x8e${'\xff'.repeat(7)}\x7f`), refusal: /truncated/ },
  { name: 'a storage of 2^53 elements', bytes: () => withStorage(`}${text('a')}${rebuild('\x8a\x07\xff\xff\xff\xff\xff\xff\x1f', 'K\0', 'K\x01', 'K\x01')}s.`), refusal: /has 16 bytes, not/ },
  { name: 'sizes whose product is past every number', bytes: () => tensors({ a: { ...one, shape: [2 ** 52, 2 ** 52] } }), refusal: /takes .* bytes, but its offsets span 8/ },
  { name: 'sixty-five sizes', bytes: () => tensors({ a: { ...one, shape: new Array<number>(65).fill(1) } }), refusal: /no valid shape/ },
  { name: 'an .npy of 2^40 elements', bytes: () => npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776,), }"), refusal: /truncated: an array/ },
  { name: 'an .npy header of gigabytes', bytes: () => latin1('\x93NUMPY\x02\0\0\0\0\x7f'), refusal: /at most 65536/ },
  { name: 'deflated data that ends early', bytes: () => changed(zip('N.', { deflated: true, data: new Uint8Array(1000) }), (view, directory) => view.setUint32(directory + 20, 3, true)), refusal: /inflate|needs bytes/ },
  { name: 'deflated data that goes on', bytes: () => zip(new Uint8Array(5000), { deflated: true, size: 100 }), refusal: /inflates to more than its 100 bytes/ },
  { name: 'a description with another checksum', bytes: () => zip('}.', { crc: 1 }), refusal: /is damaged: its checksum is [0-9a-f]{8}.*verify: false/ },
  // ---- code
  ...['os\nsystem', 'posix\nsystem', 'nt\nsystem', 'subprocess\nPopen', 'builtins\neval', 'builtins\nexec', '__builtin__\ncompile', 'builtins\n__import__', 'runpy\n_run_code', 'torch\nload', 'torch.hub\nload', 'torch.jit\nload', 'socket\nsocket', 'shutil\nrmtree', 'pickle\nloads', 'importlib\nimport_module', 'webbrowser\nopen', 'ctypes\nCDLL', 'sys\nexit', 'numpy\n__class__'].map((name): Attack => ({ name: `a call of ${name.replace('\n', '.')}`, bytes: () => zip(`}${text('state_dict')}}s${text('x')}c${name}\n(${text('touch hacked')}tRs.`), refusal: notAllowed })),
  { name: 'os.system by INST', bytes: () => zip(`(${text('touch hacked')}ios\nsystem\n.`), refusal: notAllowed },
  { name: 'os.system in a legacy file', bytes: () => legacy(`cos\nsystem\n(${text('touch hacked')}tR.`), refusal: notAllowed },
  { name: 'a sparse tensor', bytes: () => zip('ctorch._utils\n_rebuild_sparse_tensor\n.'), refusal: /to_dense/ },
  { name: 'a class whose name has 300,000 characters', bytes: () => zip(`c${'m'.repeat(300_000)}\nC\n.`), refusal: /name of a global has 300001 characters/ },
  { name: 'calling a number', bytes: () => zip('K\x01)R.'), refusal: /not a function is called/ },
  { name: 'the extension registry', bytes: () => zip('\x82\x01.'), refusal: /unknown pickle opcode/ },
  // ---- places
  { name: 'a shard in another folder', bytes: () => latin1('{"weight_map":{"a":"../secret.safetensors"}}'), refusal: /no name of a file beside it/ },
  { name: 'a shard with a zero in its name', bytes: () => latin1('{"weight_map":{"a":"a\\u0000b"}}'), refusal: /no name of a file beside it/ },
  { name: 'a shard on another drive', bytes: () => latin1('{"weight_map":{"a":"C:x"}}'), refusal: /no name of a file beside it/ },
  { name: 'a storage above its folder', bytes: () => zip(`}${text('a')}ctorch._utils\n_rebuild_tensor_v2\n(${storage('K\x04', text('../../etc/passwd'))}K\0K\x01\x85K\x01\x85\x89}tRs.`), refusal: /which is missing/ },
  { name: 'two entries of one name', bytes: () => buildZip([part('data.pkl', 'N.'), part('data.pkl', 'N.')]).bytes, refusal: /two entries are called/ },
  { name: 'two descriptions', bytes: () => buildZip([{ name: 'a/data.pkl', data: latin1('N.') }, { name: 'b/data.pkl', data: latin1('N.') }]).bytes, refusal: /several data\.pkl/ },
  { name: 'an entry over the directory', bytes: () => changed(zip('N.'), (view, directory) => view.setUint32(directory + 42, directory, true)), refusal: /reaches past the data|claims/ },
  { name: 'an encrypted entry', bytes: () => changed(zip('N.'), (view, directory) => view.setUint16(directory + 8, 1, true)), refusal: /encrypted/ },
  { name: 'a zip64 record past the end', bytes: () => { const locator = new Uint8Array(20); new DataView(locator.buffer).setUint32(0, 0x07064b50, true); locator.fill(0xff, 8, 16); const whole = zip('N.'); const end = whole.length - 22; return new Uint8Array([...whole.subarray(0, end), ...locator, ...whole.subarray(end)]); }, refusal: /zip64 directory record needs bytes|corrupt zip/ },
  { name: 'raw deflate where a zip is expected', bytes: () => new Uint8Array(deflateRawSync(Buffer.alloc(1000))), refusal: /not a weight file/ },
  { name: 'objects in an .npy', bytes: () => npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"), refusal: /Python objects/ },
  { name: 'a truncated .npy in an .npz', bytes: () => npz(npyFile(words, new Uint8Array(4))), refusal: /truncated/ },
  // ---- terminals
  { name: 'a class whose name clears the screen', bytes: () => zip('c\x1b[2J\x1b]52;c;aGk=\x07\nC\x9b\n)\x81.'), refusal: /\\x1b\[2J\\x1b\]52;c;aGk=\\x07\.C\\x9b/ },
  { name: 'keys that write to the clipboard', bytes: () => zip(`}${text('\x1b]52;c;aGk=\x07')}K\x01s.`), refusal: /'\\x1b\]52;c;aGk=\\x07'/ },
  { name: 'a tensor whose name turns the text around', bytes: () => tensors({ 'a\u202e\n': { ...one, shape: [3] } }), refusal: /"a\\u202e\\n"/ },
  { name: 'a JSON error with an escape in it', bytes: () => tensors('{"a": \x1b[2J}'), refusal: /not valid JSON/ },
  { name: 'an entry of an archive that beeps', bytes: () => buildZip([{ name: '\x07\x9b', data: new Uint8Array(1) }]).bytes, refusal: /\\u0007\\x9b/ },
]; // prettier-ignore
