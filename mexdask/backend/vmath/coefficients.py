"""Coefficients of minimax polynomials, lowest first: all made by ``tools/minimax.py``."""

COEFFICIENTS = {
    "exp": (
        "0x1.0000000000009p-1 0x1.55555555554fap-3 0x1.55555555508d8p-5 0x1.1111111127b6ap-7 "
        "0x1.6c16c18419bc4p-10 0x1.a01a012a612f8p-13 0x1.a0199a3254930p-16 0x1.71df2570aa8cep-19 "
        "0x1.28ad53f3608f8p-22 0x1.ad7f01b0dec35p-26"
    ),
    "exp_short": (
        "0x1.fffffb9cd3b33p-2 0x1.5554917467520p-3 0x1.5558f04911d74p-5 0x1.1239d01cb1e84p-7 "
        "0x1.6a24bb4fda239p-10"
    ),
    "sin": (
        "-0x1.5555555555549p-3 0x1.111111110f8acp-7 -0x1.a01a019c16ad0p-13 0x1.71de357b752b6p-19 "
        "-0x1.ae5e68cc62fc9p-26 0x1.5d93abaaff5a6p-33"
    ),
    "sin_short": "-0x1.555545a3066c5p-3 0x1.110762d8dfabep-7 -0x1.994f4ec2dec28p-13",
    "cos": (
        "0x1.555555555554cp-5 -0x1.6c16c16c15255p-10 0x1.a01a019cc3f90p-16 -0x1.27e4f815a7f14p-22 "
        "0x1.1ee9f31e9c1e8p-29 -0x1.8fb208cf81dbep-37"
    ),
    "cos_short": (
        "-0x1.ffffffd1009d2p-2 0x1.55553e1eb70cfp-5 -0x1.6c0882be46b97p-10 0x1.9934f3f34da72p-16"
    ),
    "cos_native": "0x1.55554abfc0e18p-5 -0x1.6c0c918bba6a9p-10 0x1.9a03bea71f10dp-16",
    "log": (
        "0x1.5555555555591p-1 0x1.99999999801e0p-2 0x1.24924941c1d07p-2 0x1.c71c5229a0174p-3 "
        "0x1.746639358b389p-3 0x1.39a23b8586204p-3 0x1.2f00e50de8afep-3"
    ),
    "log_short": (
        "0x1.55554768fa8ffp-2 -0x1.000006700babbp-2 0x1.99a4b71dd7cf3p-3 -0x1.555c4f12b16c5p-3 "
        "0x1.23373e64ebf17p-3 -0x1.fc219022f70e4p-4 0x1.e6f295ddb56a0p-4 -0x1.de4010873ce55p-4 "
        "0x1.145773a227e82p-4"
    ),
    "exp2": (
        "0x1.ebfbdff82c5a1p-3 0x1.c6b08d704a046p-5 0x1.3b2ab6fba07e5p-7 0x1.5d87fe78c36a2p-10 "
        "0x1.4309130db71b4p-13 0x1.ffcbfbc7d596ep-17 0x1.62bfca157a1fcp-20 0x1.b52652fbd654cp-24 "
        "0x1.e61782900e11cp-28 0x1.e7c661ce6af1ep-32"
    ),
    "exp2_short": (
        "0x1.ebfbdbc18dc77p-3 0x1.c6af889ce1412p-5 0x1.3b2e0ad7ee20bp-7 0x1.5f03c28aaccf3p-10 "
        "0x1.414f4adfc6cf5p-13"
    ),
    "exp10": (
        "0x1.53524c73cea75p+1 0x1.0470591de2c5fp+1 0x1.2bd7609fd5593p+0 0x1.1429ffd1ebbebp-1 "
        "0x1.a7ed70a071ca5p-3 0x1.16e4df744c500p-4 0x1.4116609009a36p-6 0x1.4898953c41762p-8 "
        "0x1.2f7215c9e14e3p-10 0x1.f9c1c8c578083p-13"
    ),
    "exp10_short": (
        "0x1.5352498b7047ep+1 0x1.046fc3a9148b9p+1 0x1.2bda8b623ab86p+0 0x1.15561c8f05e6bp-1 "
        "0x1.a5a9908a3b7adp-3"
    ),
    "sinh": (
        "0x1.5555555555556p-3 0x1.11111111110a2p-7 0x1.a01a01a029057p-13 0x1.71de3a46086bdp-19 "
        "0x1.ae64675ac0ac1p-26 0x1.611a3e26060a2p-33 0x1.b4ce62a24059ap-41"
    ),
    "asin": (
        "0x1.5555555555575p-3 0x1.333333332e422p-4 0x1.6db6db71f6c3ep-5 0x1.f1c71a9d75ad0p-6 "
        "0x1.6e8bde162b387p-6 0x1.1c49fc8397eabp-6 0x1.ca1e90f00aff9p-7 0x1.758c960d11ef6p-7 "
        "0x1.6119de617bf1fp-7 0x1.e7c2e57f7a1e5p-9 0x1.6320bd387bee2p-6 -0x1.57633364dbb56p-6 "
        "0x1.0b1c4efce1b3cp-5"
    ),
    "asin_short": (
        "0x1.55554c78948c6p-3 0x1.333874a8cda1fp-4 0x1.6cafb287d91e0p-5 0x1.048c1b5724b3ep-5 "
        "0x1.d95ee59ff89fdp-7 0x1.33452fc7d68d9p-5"
    ),
    "atan": (
        "-0x1.555555555551bp-2 0x1.9999999991908p-3 -0x1.2492492180ea6p-3 0x1.c71c709b10263p-4 "
        "-0x1.745cf5aa380ddp-4 0x1.3b1149ee1870bp-4 -0x1.10f38f82def70p-4 0x1.dfeee3e570355p-5 "
        "-0x1.a3ae8efa7606dp-5 0x1.572f4e31a9657p-5 -0x1.c22baa8921c25p-6 0x1.4c64e08e6ce6bp-7"
    ),
    "atan_short": (
        "-0x1.55555185640bdp-2 0x1.99980657d8626p-3 -0x1.247570a0a256fp-3 0x1.c50c38e1a4b77p-4 "
        "-0x1.694a5502e24a8p-4 0x1.1505ec2af05a7p-4 -0x1.709b20fb6f0e2p-5 0x1.759087011b982p-6 "
        "-0x1.e7a4fb2de2320p-8 0x1.2a6cd211574d0p-10"
    ),
    "rcbrt": (
        "0x1.c7f368ef4313cp+0 -0x1.90e749aa79d3dp+0 0x1.3e68bf882de47p+0 -0x1.321c605ecc2eap-1 "
        "0x1.3fa263ea72747p-3 -0x1.16d6e2ecb0e0cp-6"
    ),
    "cosh_short": "0x1.00000043efa6ep-1 0x1.55547ec4598b2p-5 0x1.6d97a93d5b9e8p-10",
    "sinh_short": "0x1.5555557382d9cp-3 0x1.1110b1bf6f212p-7 0x1.a170073c77bd3p-13",
    "erf": (
        "0x1.06eba8214db69p-3 -0x1.812746b0379e6p-2 0x1.ce2f21a042b1ep-4 -0x1.b82ce312848f9p-6 "
        "0x1.565bcd0dae8f9p-8 -0x1.c02db3d89fd52p-11 0x1.f9a32197ff8e0p-14 -0x1.f4d1de84687edp-17 "
        "0x1.b9dee8486c9e0p-20 -0x1.5f1ce57351e3bp-23 0x1.f7a0913cf50e1p-27 "
        "-0x1.385faacd0549bp-30 0x1.055b0401ed71cp-34"
    ),
    "erf_short": (
        "0x1.20dd74fe3f003p+0 -0x1.81273ddc9fbe5p-2 0x1.ce2cf4a867d8ep-4 -0x1.b7f8dc1f66ffbp-6 "
        "0x1.540414cbd895ep-8 -0x1.a3ea89ee29e63p-11 0x1.4946557af2afap-14"
    ),
    "erfc_rest": (
        "-0x1.15c084bb9e8f1p-3 -0x1.85a15c58aa5bep-5 0x1.098366a5b45d5p-3 "
        "-0x1.e88b803a49461p-4 0x1.17ca2877f5bb2p-4 -0x1.8574c40bcb404p-6 0x1.4b884e3943219p-9 "
        "0x1.ef1bdd47df837p-10 -0x1.98db4f5a9c2bep-11 -0x1.b91275811db11p-14 "
        "0x1.065a0d0c90251p-13 0x1.4c2534c24e14ap-18 -0x1.513638d147756p-16 "
        "-0x1.885b58a953be0p-21 0x1.d1a25a8d109b2p-19 0x1.7cd760b0b3994p-22 "
        "-0x1.48199dc0501eep-21 -0x1.2727090da0e35p-23 0x1.9bca3131269ebp-24 "
        "0x1.3d43acdade559p-25 -0x1.4ae1531688769p-27 -0x1.6dc0aa95bbc6ap-28"
    ),
    "erfc_short": (
        "0x1.40c522d8bc703p+0 -0x1.15c0848bdd3dfp-3 -0x1.85a16c63fef60p-5 0x1.09835c54fdccdp-3 "
        "-0x1.e88ac018e5181p-4 0x1.17cb96067001fp-4 -0x1.858dc525ae5d6p-6 0x1.4a211fe8345bcp-9 "
        "0x1.f45e056bd7194p-10 -0x1.846534f915c37p-11 -0x1.0aee020b09116p-13 "
        "0x1.18071a19df5cap-14"
    ),
    "pow": (
        "0x1.2776c50ef9bfcp-1 0x1.a61762a7aed70p-2 0x1.484b13d6b2916p-2 0x1.0c9a8538917d3p-2 "
        "0x1.c68eea82843c8p-3 0x1.8a09905619e1bp-3 0x1.58ffa6f09f673p-3 0x1.61db071fa372fp-3"
    ),
    "pow_short": (
        "0x1.ec709dc4bfafap-1 0x1.2776c2f2d5e43p-1 0x1.a619f3e8621c2p-2 0x1.479d37b28df65p-2 "
        "0x1.214f0ecf607fbp-2"
    ),
}
