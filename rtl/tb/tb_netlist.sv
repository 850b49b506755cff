// Leaf modules beside their netlists of gates, which scripts/rtl-test has Yosys make (acc_NAME__gates): whatever the inputs
// and the reset do, the outputs are the same in every cycle. Operands of floats are drawn as in tb_float, so that exponents
// meet; handshakes and resets are random.
`default_nettype none

// The module and its netlist, with the inputs of the names of their ports.
`define TWINS(NAME, WIDTH, OUTPUTS) \
  logic [WIDTH-1:0] NAME``_rtl, NAME``_gates; \
  if (1) begin : gen_``NAME``_rtl \
    wire [WIDTH-1:0] out; \
    NAME u_dut (.*, OUTPUTS); \
    assign NAME``_rtl = out; \
  end \
  if (1) begin : gen_``NAME``_gates \
    wire [WIDTH-1:0] out; \
    NAME``__gates u_dut (.*, OUTPUTS); \
    assign NAME``_gates = out; \
  end \
  always @(negedge clk_i) \
    if (full && NAME``_rtl !== NAME``_gates) $fatal(1, `"NAME: %h, its netlist %h`", NAME``_rtl, NAME``_gates);
`define AND ,

module tb_netlist (
  output logic done_o
);
  localparam int Cycles = 40000;
  logic             clk_i = 1'b0, rst_ni = 1'b0, in_valid_i = 1'b0, out_ready_i = 1'b0, start_i = 1'b0;
  logic             valid_i = 1'b0, first_i = 1'b0, dense_i = 1'b0;
  acc_pkg::levels_e levels_i = acc_pkg::Levels12;
  logic [31:0]      a_i = '0, b_i = '0, x_i = '0, d_i = '0, act_i = '0;
  logic [7:0]       word_i = '0;
  logic [43:0]      low_i = '0, high_i = '0;
  int               seed = 5;
  logic             full = 1'b0;  // the pipelines: what registers hold at first is either's own matter

  always #5 clk_i = !clk_i;
  `TWINS(acc_picks, 88, .low_o(out[43:0]) `AND .high_o(out[87:44]))
  `TWINS(acc_lane, 17, .acc_o(out))
  `TWINS(acc_fp_add, 32, .y_o(out))
  `TWINS(acc_fp_mul, 32, .y_o(out))
  `TWINS(acc_fp_from_int, 32, .y_o(out))
  `TWINS(acc_fp_to_int, 32, .y_o(out))
  `TWINS(acc_exp2, 48, .weight_o(out[15:0]) `AND .factor_o(out[47:16]))
  `TWINS(acc_fp_div, 34, .in_ready_o(out[0]) `AND .out_valid_o(out[1]) `AND .y_o(out[33:2]))
  `TWINS(acc_fp_sqrt, 34, .in_ready_o(out[0]) `AND .out_valid_o(out[1]) `AND .y_o(out[33:2]))
  `TWINS(acc_udiv, 31, .a_i(a_i[18:0]) `AND .b_i(b_i[10:0]) `AND .done_o(out[0]) `AND .quotient_o(out[19:1]) `AND
         .rest_o(out[30:20]))

  int met = 0;  // sums whose operands overlap
  initial begin
    done_o = 1'b0;
    repeat (3) @(posedge clk_i);
    for (int i = 0; i < Cycles; i++) begin
      @(posedge clk_i) #1;
      full   = i > 64;
      rst_ni = tb_pkg::random(seed) % 512 != 0;
      {in_valid_i, out_ready_i, valid_i, first_i, dense_i} = 5'(tb_pkg::random(seed));
      start_i  = tb_pkg::random(seed) % 16 == 0;
      levels_i = acc_pkg::levels_e'(tb_pkg::random(seed) % 3);
      {act_i, word_i} = {tb_pkg::random(seed), 8'(tb_pkg::random(seed))};
      {low_i, high_i} = {24'(tb_pkg::random(seed)), tb_pkg::random(seed), tb_pkg::random(seed)};
      a_i = tb_pkg::random(seed);
      b_i = tb_pkg::random(seed);
      if (i % 3 != 0) b_i[30:23] = a_i[30:23] + 8'(tb_pkg::random(seed) % 61) - 8'd30;
      if (i % 3 == 2) a_i &= 32'hff800000 | (32'hffffffff << (tb_pkg::random(seed) % 24));
      if (i % 16 == 1) a_i[30:23] = {8{a_i[0]}};  // zeros, denormals, infinities, NaN
      if (i % 16 == 2) b_i[30:23] = {8{b_i[0]}};
      if (i % 64 == 1) a_i[22:0] = '0;
      if (i % 64 == 2) b_i[22:0] = '0;
      x_i = a_i;
      if (i % 4 == 0) x_i[30:23] = 8'd120 + 8'(tb_pkg::random(seed) % 40);
      d_i = i % 8 == 0 ? a_i : {1'b1, 31'h49000000 + 31'(tb_pkg::random(seed) % 32'h01800000)};
      if (a_i[30:23] - b_i[30:23] < 8'd24) met++;
    end
    if (met < Cycles / 8) $fatal(1, "the stimulus is too tame: %0d sums overlap", met);
    $display("ok netlist: 10 leaf modules, %0d cycles", Cycles);
    done_o = 1'b1;
  end
endmodule
`default_nettype wire
