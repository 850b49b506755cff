// Pieces of binary32 (docs/numerics.md "Floats") that the floating-point units share.
`default_nettype none
package acc_fp_pkg;
  localparam logic [31:0] Nan = 32'h7fc00000;  // the only NaN that a unit makes

  // Latencies in cycles; each of these units takes operands every cycle.
  localparam int unsigned AddCycles = 4;
  localparam int unsigned MulCycles = 4;
  localparam int unsigned FromIntCycles = 2;
  localparam int unsigned ToIntCycles = 2;

  // What a result is; no enum, since Yosys does not find its names from inside the package.
  localparam logic [1:0] Finite = 2'd0;
  localparam logic [1:0] Infinite = 2'd1;
  localparam logic [1:0] NotANumber = 2'd2;

  // 24 bits, the leading one in place unless x is below 2^-126; then its exponent is that of 2^-126.
  function automatic logic [23:0] mantissa(input logic [31:0] x);
    mantissa = {x[30:23] != 8'd0, x[22:0]};
  endfunction
  function automatic logic [7:0] exponent(input logic [31:0] x);
    exponent = x[30:24] == 7'd0 ? 8'd1 : x[30:23];
  endfunction

  function automatic logic is_nan(input logic [31:0] x);
    is_nan = x[30:0] > 31'h7f800000;
  endfunction
  function automatic logic is_inf(input logic [31:0] x);
    is_inf = x[30:0] == 31'h7f800000;
  endfunction

  // Zeros above the leading one; 48 for 0.
  function automatic logic [5:0] zeros(input logic [47:0] x);
    zeros = 6'd48;
    for (int i = 0; i < 48; i++) if (x[i]) zeros = 6'(47 - i);
  endfunction

  // Rounds to nearest even. norm: 24 bits of mantissa, then 3 of which the last stands for all below; exp: biased, 0
  // where the leading bit is not set; from 255 on an infinity.
  function automatic logic [31:0] round(input logic sign, input logic [9:0] exp, input logic [26:0] norm);
    logic [30:0] packed_bits;
    packed_bits = {exp[7:0], norm[25:3]} + 31'(norm[2] && (norm[3] || norm[1] || norm[0]));
    round = exp >= 10'd255 ? {sign, 31'h7f800000} : {sign, packed_bits};
  endfunction

  function automatic logic [31:0] special(input logic [1:0] kind, input logic sign, input logic [31:0] finite);
    special = kind == NotANumber ? Nan : kind == Infinite ? {sign, 31'h7f800000} : finite;
  endfunction

  // a > b as numbers: false with a NaN, and zeros are equal.
  function automatic logic greater(input logic [31:0] a, input logic [31:0] b);
    logic differ;
    differ = a[31] != b[31] && (a[30:0] != 31'd0 || b[30:0] != 31'd0);
    greater = !is_nan(a) && !is_nan(b) &&
              (a[31] != b[31] ? differ && b[31] : a[31] ? a[30:0] < b[30:0] : a[30:0] > b[30:0]);
  endfunction

  // Exact; a NaN becomes a quiet one.
  function automatic logic [31:0] from_half(input logic [15:0] h);
    logic [3:0] top;   // place of the fraction's leading one
    logic [9:0] shifted;
    top = 4'd0;
    for (int i = 0; i < 10; i++) if (h[i]) top = 4'(i);
    shifted = h[9:0] << (4'd10 - top);
    if (h[14:10] == 5'd31) from_half = {h[15], 8'hff, h[9:0] == 10'd0 ? 10'd0 : h[9:0] | 10'h200, 13'd0};
    else if (h[14:10] != 5'd0) from_half = {h[15], 8'(h[14:10]) + 8'd112, h[9:0], 13'd0};
    else if (h[9:0] == 10'd0) from_half = {h[15], 31'd0};
    else from_half = {h[15], 8'd103 + 8'(top), shifted, 13'd0};
  endfunction

  // To nearest even; from 65520 on infinity.
  function automatic logic [15:0] to_half(input logic [31:0] x);
    logic [15:0] normal;
    logic [48:0] small_bits;  // multiples of 2^-24 from bit 25 on
    logic [4:0]  shift;
    normal = 16'((x[30:0] - 31'h38000000 + 31'hfff + 31'(x[13])) >> 13);
    shift = x[30:23] > 8'd101 ? 5'(8'd126 - x[30:23]) : 5'd25;
    small_bits = {mantissa(x), 25'd0} >> shift;
    if (is_nan(x)) to_half = {x[31], 5'h1f, x[22:13] | 10'h200};
    else if (x[30:0] >= 31'h477ff000) to_half = {x[31], 15'h7c00};
    else if (x[30:0] >= 31'h38800000) to_half = {x[31], normal[14:0]};
    else to_half = {x[31], small_bits[39:25] + 15'(small_bits[24] && (small_bits[25] || small_bits[23:0] != 24'd0))};
  endfunction
endpackage
`default_nettype wire
