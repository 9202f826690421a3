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
    "log": (
        "0x1.5555555555591p-1 0x1.99999999801e0p-2 0x1.24924941c1d07p-2 0x1.c71c5229a0174p-3 "
        "0x1.746639358b389p-3 0x1.39a23b8586204p-3 0x1.2f00e50de8afep-3"
    ),
    "log_short": (
        "0x1.55554768fa8ffp-2 -0x1.000006700babbp-2 0x1.99a4b71dd7cf3p-3 -0x1.555c4f12b16c5p-3 "
        "0x1.23373e64ebf17p-3 -0x1.fc219022f70e4p-4 0x1.e6f295ddb56a0p-4 -0x1.de4010873ce55p-4 "
        "0x1.145773a227e82p-4"
    ),
}
