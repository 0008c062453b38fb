/** A block of GPT-2 in kindling, with nanoGPT's names (https://github.com/karpathy/nanoGPT). */
import * as k from '../src/index.js';
import { base } from './works.mjs';

class CausalSelfAttention extends k.nn.Module {
  c_attn = new k.nn.Linear(base.width, 3 * base.width);
  c_proj = new k.nn.Linear(base.width, base.width);

  forward(x: k.Tensor): k.Tensor {
    const [n, length] = [x.size(0), x.size(1)];
    const [q, key, v] = this.c_attn(x)
      .split(base.width, 2)
      .map((part) => part.reshape(n, length, base.heads, -1).transpose(1, 2)) as [
      k.Tensor,
      k.Tensor,
      k.Tensor,
    ];
    const attended = k.scaledDotProductAttention(q, key, v, { isCausal: true });
    return this.c_proj(attended.transpose(1, 2).reshape(n, length, base.width));
  }
}

class Mlp extends k.nn.Module {
  c_fc = new k.nn.Linear(base.width, base.mlp);
  gelu = new k.nn.GELU();
  c_proj = new k.nn.Linear(base.mlp, base.width);

  forward(x: k.Tensor): k.Tensor {
    return this.c_proj(this.gelu(this.c_fc(x)));
  }
}

export class GptBlock extends k.nn.Module {
  ln_1 = new k.nn.LayerNorm(base.width);
  attn = new CausalSelfAttention();
  ln_2 = new k.nn.LayerNorm(base.width);
  mlp = new Mlp();

  forward(x: k.Tensor): k.Tensor {
    const attended = k.add(x, this.attn(this.ln_1(x)));
    return k.add(attended, this.mlp(this.ln_2(attended)));
  }
}
