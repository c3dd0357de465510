"""Random ASR models of many kinds with working tokenizers, and speaker adaptors."""

import io
from pathlib import Path

import asr_models
import torch
import yaml

from espnet2_sv.asr.task import task_of
from espnet2_sv.tasks.adaptor import SVAdaptorTask
from espnet2_sv.zoo.files import find_model_files

SENTENCES = [
    "the cat sat",
    "a dog ran far",
    "yes he said it",
    "no she did not",
    "we go there",
]
DECODER = {"attention_heads": 2, "linear_units": 24, "num_blocks": 1}
KINDS = {
    "ctc": {},
    "attention": {
        "decoder": "transformer",
        "decoder_conf": DECODER,
        "model_conf": {"ctc_weight": 0.3},
    },
    "bpe": {"token_type": "bpe", "bpemodel": "data/bpe.model"},
    "legacy": {"encoder_conf": {"rel_pos_type": "legacy"}},
    "self_conditioned": {
        "encoder_conf": {
            "interctc_layer_idx": [1, 2],
            "interctc_use_conditioning": True,
        },
        "model_conf": {"ctc_weight": 1.0, "interctc_weight": 0.5},
    },
    "transducer": {
        "decoder": "transducer",
        "decoder_conf": {"rnn_type": "lstm", "num_layers": 1, "hidden_size": 8},
        "joint_net_conf": {"joint_space_size": 8},
        "model_conf": {"ctc_weight": 0.3},
    },
    "no_ctc": {
        "decoder": "transformer",
        "decoder_conf": DECODER,
        "model_conf": {"ctc_weight": 0.0},
    },
    "mask_ctc": {
        "model": "maskctc",
        "decoder": "mlm",
        "decoder_conf": DECODER,
        "model_conf": {"ctc_weight": 0.3},
    },
}


OWSM = {"owsm": "owsm_v3.1_ebf", "owsm_ctc": "owsm_ctc_v4"}


def train_bpe(symbols: list[str]) -> tuple[bytes, list[str]]:
    """A sentencepiece model with 22 pieces and symbols, and its ESPnet token list."""
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES),
        model_writer=model,
        vocab_size=22 + len(symbols),
        user_defined_symbols=symbols,
        bos_id=-1,
        eos_id=-1,
        minloglevel=2,
    )
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    pieces = [processor.id_to_piece(i) for i in range(1, processor.get_piece_size())]
    pieces = [piece for piece in pieces if piece not in symbols]
    return model.getvalue(), ["<blank>", "<unk>", *pieces, "<sos/eos>"]


def make_asr(root: Path, kind: str) -> "asr_models.Trained":
    """The output of an ASR training; greedy transcripts are long and varied."""
    if kind in OWSM:
        conf = asr_models.published(OWSM[kind])
    else:
        conf = asr_models.conformer(**KINDS[kind].get("encoder_conf", {}))
        conf |= {k: v for k, v in KINDS[kind].items() if k != "encoder_conf"}
    tokens = None
    if conf["token_type"] == "bpe":
        bpe, tokens = train_bpe(asr_models.SYMBOLS if kind == "owsm_ctc" else [])
    trained = asr_models.train(root, conf, tokens)
    if tokens:
        (root / conf["bpemodel"]).write_bytes(bpe)
    if trained.stock.ctc is not None:
        vary_best_token(trained.stock)
    trained.save_weights(trained.stock.state_dict())
    return trained


@torch.no_grad()
def vary_best_token(model: torch.nn.Module) -> None:
    """Make the best token vary by frame; frames of random networks are similar."""
    noise = 0.1 * torch.randn(1, 16000, generator=torch.Generator().manual_seed(0))
    frames, _ = asr_models.encode(model, noise, torch.tensor([16000]))
    layer = model.ctc.ctc_lo
    layer.weight.copy_(torch.randn_like(layer.weight))
    layer.bias.copy_(-layer.weight @ frames[0].mean(0))


def make_adaptor(exp: Path, asr: Path | str) -> Path:
    """The output of an adaptor training, with random weights."""
    exp.mkdir(parents=True)
    args = SVAdaptorTask.get_parser().parse_args(["--output_dir", str(exp)])
    args.asr, args.spk_num = str(asr), 4
    args.head_conf = {"embed_dim": 8, "adaptor_dim": 8, "linear_units": 16, "kernel": 7}
    torch.manual_seed(1)
    model = SVAdaptorTask.build_model(args)
    asr_models.perturb_weights(model)
    state = dict(model.state_dict())
    sha256 = bytes.fromhex(args.asr_init["weights_sha256"])
    state["backbone.asr_sha256"] = torch.tensor(list(sha256), dtype=torch.float32)
    torch.save(state, exp / "valid.eer.best.pth")
    (exp / "config.yaml").write_text(yaml.safe_dump(vars(args)))
    (exp / "spk2id").write_text("a 0\nb 1\nc 2\nd 3\n")
    return exp


class Zoo:
    """ASR models by kind, each with an adaptor, built on first use."""

    def __init__(self, root: Path):
        self.root = root

    def asr(self, kind: str = "ctc") -> Path:
        """The exp directory of an ASR model."""
        folder = self.root / kind / "exp" / "asr_train"
        return folder if folder.exists() else make_asr(self.root / kind, kind).exp

    def adaptor(self, kind: str = "ctc") -> Path:
        """The exp directory of an adaptor, with the absolute path of its ASR model."""
        folder = self.root / kind / "exp" / "sv_adaptor"
        return folder if folder.exists() else make_adaptor(folder, self.asr(kind))

    def absolute_config(self, kind: str) -> Path:
        """The config of an ASR model with absolute paths."""
        files = find_model_files(self.asr(kind), "asr")
        conf = yaml.safe_load(files.config.read_text())
        root = files.root.parents[1]
        conf["normalize_conf"]["stats_file"] = str(
            root / conf["normalize_conf"]["stats_file"]
        )
        if conf["bpemodel"]:
            conf["bpemodel"] = str(root / conf["bpemodel"])
        config = root / "absolute.yaml"
        config.write_text(yaml.safe_dump(conf))
        return config

    def stock(self, kind: str, **options):
        """ESPnet's own recogniser, loaded from the unmodified training output."""
        config = self.absolute_config(kind)
        weights = find_model_files(self.asr(kind), "asr").weights
        with asr_models.stub_transducer_loss():
            recogniser = task_of(yaml.safe_load(config.read_text())).recogniser_class()
            return recogniser(str(config), str(weights), **options)
