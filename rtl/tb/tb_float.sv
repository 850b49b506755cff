// The floating-point units against C's own arithmetic and the library's: every pair of special values, then random
// operands of three kinds: any bits, near exponents, few mantissa bits (ties). The pipelines take operands every cycle;
// div and sqrt are stalled on both sides by a seeded generator.
`default_nettype none
module tb_float (
  output logic done_o
);
  import "DPI-C" function int golden_add(input int a, input int b);
  import "DPI-C" function int golden_mul(input int a, input int b);
  import "DPI-C" function int golden_div(input int a, input int b);
  import "DPI-C" function int golden_sqrt(input int a);
  import "DPI-C" function int golden_from_int(input int a);
  import "DPI-C" function int golden_to_int(input int a);
  import "DPI-C" function int golden_greater(input int a, input int b);
  import "DPI-C" function int golden_from_half(input int h);
  import "DPI-C" function int golden_to_half(input int a);
  import "DPI-C" function int golden_exp2_weight(input int d);
  import "DPI-C" function int golden_exp2_factor(input int d);

  localparam int unsigned Specials = 34;
  localparam int unsigned Random = 60000;
  localparam int unsigned Exp2Cycles = 6;

  logic        clk = 1'b0, rst_n = 1'b0;
  logic [31:0] a = '0, b = '0, d = '0, sum, product, from_int, to_int, factor;
  logic [15:0] weight;
  int          seed = 7;

  always #5 clk = !clk;
  acc_fp_add u_add (.clk_i(clk), .a_i(a), .b_i(b), .y_o(sum));
  acc_fp_mul u_mul (.clk_i(clk), .a_i(a), .b_i(b), .y_o(product));
  acc_fp_from_int u_from_int (.clk_i(clk), .x_i(a), .y_o(from_int));
  acc_fp_to_int u_to_int (.clk_i(clk), .x_i(a), .y_o(to_int));
  acc_exp2 u_exp2 (.clk_i(clk), .d_i(d), .weight_o(weight), .factor_o(factor));

  function automatic logic [31:0] special(input int i);
    case (i / 2)
      0: special = 32'h00000000;
      1: special = 32'h00000001;
      2: special = 32'h00000003;
      3: special = 32'h007fffff;
      4: special = 32'h00800000;
      5: special = 32'h00ffffff;
      6: special = 32'h33800000;  // 2^-24
      7: special = 32'h34000001;
      8: special = 32'h3f000000;
      9: special = 32'h3f800000;
      10: special = 32'h3fffffff;
      11: special = 32'h4b000001;  // 2^23 + 1
      12: special = 32'h4effffff;  // below 2^31
      13: special = 32'h7e800000;
      14: special = 32'h7f7fffff;
      15: special = 32'h7f800000;
      default: special = 32'h7fc12345;
    endcase
    special[31] = i[0];
  endfunction

  // Operands number i.
  task automatic draw(input int i);
    if (i < Specials * Specials) begin
      a = special(i / Specials);
      b = special(i % Specials);
    end else begin
      a = tb_pkg::random(seed);
      b = tb_pkg::random(seed);
      if (i % 3 == 1) b[30:23] = a[30:23] + 8'(tb_pkg::random(seed) % 61) - 8'd30;
      if (i % 3 == 2) begin
        a &= 32'hffff0000 | (32'hffffffff << (tb_pkg::random(seed) % 24));
        b &= 32'hff800000 | (32'hffffffff << (tb_pkg::random(seed) % 24));
        b[30:23] = a[30:23] + 8'(tb_pkg::random(seed) % 61) - 8'd30;
      end
      if (i % 5 == 0) a[30:23] = 8'd120 + 8'(tb_pkg::random(seed) % 40);  // integers and halves
      if (i % 7 == 0) b[30:23] = 8'd127 - a[30:23] + 8'(tb_pkg::random(seed) % 3);  // products and quotients at the edges
    end
    // d: not above 0, most of it where the results are not 0.
    d = {1'b1, tb_pkg::random(seed) % 8 == 0 ? a[30:0] : 31'h49000000 + 31'(tb_pkg::random(seed) % 32'h01800000)};
    if (i < 65536) if (i % 2 == 0) d = {1'b1, 31'(golden_from_int(i * 16 + i / 2 % 16))};
  endtask

  // What operand i mod 8 of each unit is to give: sum, product, from int, to int, weight, factor.
  int want [0:5][0:7];

  task automatic check(input string what, input int unit, input int i, input int unsigned cycles, input logic [31:0] got);
    if (i >= int'(cycles) - 1 && got != want[unit][(i - int'(cycles) + 1) % 8])
      $fatal(1, "%s: %h, not %h", what, got, want[unit][(i - int'(cycles) + 1) % 8]);
  endtask

  task automatic pipelines();
    for (int i = 0; i < Specials * Specials + Random; i++) begin
      draw(i);
      want[0][i % 8] = golden_add(a, b);
      want[1][i % 8] = golden_mul(a, b);
      want[2][i % 8] = golden_from_int(a);
      want[3][i % 8] = golden_to_int(a);
      want[4][i % 8] = golden_exp2_weight(d);
      want[5][i % 8] = golden_exp2_factor(d);
      if (acc_fp_pkg::greater(a, b) != (golden_greater(a, b) != 0)) $fatal(1, "%h > %h", a, b);
      if (32'(acc_fp_pkg::to_half(a)) != golden_to_half(a)) $fatal(1, "%h as f16: %h", a, acc_fp_pkg::to_half(a));
      @(negedge clk);
      check("sum", 0, i, acc_fp_pkg::AddCycles, sum);
      check("product", 1, i, acc_fp_pkg::MulCycles, product);
      check("from int", 2, i, acc_fp_pkg::FromIntCycles, from_int);
      check("to int", 3, i, acc_fp_pkg::ToIntCycles, to_int);
      check("weight", 4, i, Exp2Cycles, 32'(weight));
      check("factor", 5, i, Exp2Cycles, factor);
    end
    for (int h = 0; h < 65536; h++) begin
      logic [31:0] got;
      got = acc_fp_pkg::from_half(16'(h));
      if (acc_fp_pkg::is_nan(got) ? golden_from_half(h) != acc_fp_pkg::Nan : got != golden_from_half(h))
        $fatal(1, "f16 %h: %h", h, got);
    end
  endtask

  logic        div_valid = 1'b0, div_ready, div_out, div_take = 1'b0, root_valid = 1'b0, root_ready, root_out;
  logic        root_take = 1'b0;
  logic [31:0] quotient, root, want_quotient [$], want_root [$];
  int          divisions = 0, roots = 0;
  acc_fp_div u_div (.clk_i(clk), .rst_ni(rst_n), .in_valid_i(div_valid), .in_ready_o(div_ready), .a_i(a), .b_i(b),
                    .out_valid_o(div_out), .out_ready_i(div_take), .y_o(quotient));
  acc_fp_sqrt u_sqrt (.clk_i(clk), .rst_ni(rst_n), .in_valid_i(root_valid), .in_ready_o(root_ready), .x_i(b),
                      .out_valid_o(root_out), .out_ready_i(root_take), .y_o(root));

  // Both at once, each with its own operands: a waiting operand stays.
  task automatic serial();
    int i = 0;
    draw(0);
    while (divisions < int'(Specials * Specials + 6000)) begin
      div_valid  = tb_pkg::random(seed) % 4 != 0;
      root_valid = tb_pkg::random(seed) % 4 != 0;
      div_take   = tb_pkg::random(seed) % 4 != 0;
      root_take  = tb_pkg::random(seed) % 4 != 0;
      #1;
      if (div_out && div_take) begin
        if (quotient != want_quotient[0]) $fatal(1, "quotient %h, not %h", quotient, want_quotient[0]);
        void'(want_quotient.pop_front());
        divisions++;
      end
      if (root_out && root_take) begin
        if (root != want_root[0]) $fatal(1, "root %h, not %h", root, want_root[0]);
        void'(want_root.pop_front());
        roots++;
      end
      if (div_valid && div_ready) want_quotient.push_back(golden_div(a, b));
      if (root_valid && root_ready) want_root.push_back(golden_sqrt(b));
      if (div_valid && div_ready) begin
        @(posedge clk);
        #1 i++;
        draw(i);
      end
      @(negedge clk);
    end
    if (roots < 5000) $fatal(1, "the stimulus is too tame: %0d roots", roots);
  endtask

  initial begin
    done_o = 1'b0;
    repeat (3) @(negedge clk);
    rst_n = 1'b1;
    pipelines();
    serial();
    $display("ok float: %0d operands a unit, %0d divisions, %0d roots", Specials * Specials + Random, divisions, roots);
    done_o = 1'b1;
  end
endmodule
`default_nettype wire
