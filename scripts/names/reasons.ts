/** Names that kindling has otherwise: by room and name, or by name in every room. */
export const otherNames: Readonly<Record<string, string>> = {
  numpy: '`await x.data()` (flat) or `await x.toArray()` (nested)',
  tolist: '`await x.toArray()`',
  as_tensor: '`tensor`',
  asarray: '`tensor`',
  from_numpy: '`tensor` takes typed arrays',
  frombuffer: '`tensor` takes typed arrays',
  scalar_tensor: '`tensor(number)`',
  is_tensor: '`x instanceof Tensor`',
  load: '`loadCheckpoint`, `model.loadStateDict`',
  save: '`saveWeights`, `formats`',
  seed: '`manualSeed` with a number of your own',
  set_printoptions: '`format(x, options)`',
  data: '`x.detach()`',
  is_inference_mode_enabled: '`isInferenceMode` is asked by ops alone',
  'torch.nn.ModuleList': '`ModuleList`',
  set_detect_anomaly: '`detectAnomaly(fn)`',
  set_anomaly_enabled: '`detectAnomaly(fn)`',
  gradgradcheck: '`gradcheck` of a gradient',
  clip_grad_norm: '`clipGradNorm_`',
  multi_head_attention_forward: '`nn.MultiheadAttention`, `scaledDotProductAttention`',
  Container: '`nn.Module`',
  NLLLoss2d: '`nn.NLLLoss`',
};

const rules: readonly (readonly [RegExp, string])[] = [
  [/quantiz|^q_|^qscheme|fbgemm|int_repr|dequantize|qparams|fake_quant/, 'quantized tensors'],
  [
    /sparse|crow|ccol|col_indices|row_indices|coalesce|^(h|d|s|ss)?sp?(mm|addmm)$|^(hsmm|dsmm|smm|saddmm|sspaddmm|hspmm)$|dense_dim|to_dense|^indices|^values|segment_reduce/,
    'sparse tensors',
  ],
  [
    /complex|conj|^real$|^imag$|^polar$|stft|cfloat|cdouble|chalf|resolve_|view_as_(real|complex)|is_neg$|^eigv?a?l?s?$|^adjoint$/,
    'complex numbers',
  ],
  [
    /cudnn|miopen|mkldnn|vulkan|_xpu|^xpu|ipu|is_cuda|^cuda$|_mps|_ort$|is_cpu|^cpu$|get_device|pin_memory|is_pinned|record_stream|_meta$|memory_format/,
    "other machines' tensors: kindling has one GPU at a time",
  ],
  [/distributed|DataParallel|SyncBatchNorm|DistributedSampler|is_shared|share_memory/, 'many processes'],
  [/^names$|has_names|rename|refine_names|align_/, 'named tensors'],
  [
    /autocast|vital|jit|parse_|import_ir|unify_type|type_comment|merge_type|num_(interop_)?threads|init_num|flush_denormal|warn_always|deterministic|file_path|cxx11|handle_torch_function|has_torch_function|assert_int|typename|^fork$|^wait$|^obj$|classproperty|candidate|multiprocessing|debug_mode|matmul_precision|anomaly_(check_nan_)?enabled|is_storage|_stats|_elemt|backward_reduce|^native_|weight_gather|get_default_dtype|set_default|norm_except_dim|_copy$|data_ptr|storage|^volatile$|output_nr|is_set_to|^layout$|^name$|^new$|reinforce|as_subclass|^type$|nested|padded_tensor|^set_$|^resize|is_signed|^grid_sampler|affine_grid_generator|embedding_renorm|_with_indices$|^(gru|lstm|rnn_\w+?)(_cell)?$|^convolution$|quasi|range$|from_file|dlpack|RNNBase|RNNCellBase/,
    "PyTorch's insides, or a name that it keeps for itself",
  ],
  [
    /DataPipe|DataChunk|DataLoader2|argument_validation|^communication$|functional_datapipe|determin|runtime_validation/,
    'data pipes, which PyTorch has given up',
  ],
  [/bfloat16|^char|^chalf|^half_$/, 'dtypes that WebGPU has not'],
];

/** Why a name of PyTorch is not meant to be here; null if it is. */
export function reasonFor(_room: string, name: string): string | null {
  return rules.find(([pattern]) => pattern.test(name))?.[1] ?? null;
}
