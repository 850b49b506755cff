// One operation on floats at a time, for sums that are made step by step. start_i and the operands are held until done_o,
// the cycle in which y_o is the result; another operation may follow in the next. Cycles with those of both ends: add and
// multiply 5, to an integer 3, divide 29.
`default_nettype none
module acc_fp_op (
  input  logic                clk_i,
  input  logic                rst_ni,
  input  logic                start_i,
  input  acc_unit_pkg::op_e   op_i,
  input  logic [31:0]         a_i,
  input  logic [31:0]         b_i,
  output logic                done_o,
  output logic [31:0]         y_o
);
  logic [2:0]  cycle_q;
  logic        dividing_q, div_ready, div_valid;
  logic [31:0] sum, product, quotient, whole;
  acc_fp_add u_add (.clk_i, .a_i, .b_i, .y_o(sum));
  acc_fp_mul u_mul (.clk_i, .a_i, .b_i, .y_o(product));
  acc_fp_to_int u_to_int (.clk_i, .x_i(a_i), .y_o(whole));
  acc_fp_div u_div (.clk_i, .rst_ni, .in_valid_i(start_i && op_i == acc_unit_pkg::OpDiv && !dividing_q),
                    .in_ready_o(div_ready), .a_i, .b_i, .out_valid_o(div_valid), .out_ready_i(1'b1), .y_o(quotient));

  always_comb begin
    unique case (op_i)
      acc_unit_pkg::OpAdd: {done_o, y_o} = {start_i && cycle_q == 3'(acc_fp_pkg::AddCycles), sum};
      acc_unit_pkg::OpMul: {done_o, y_o} = {start_i && cycle_q == 3'(acc_fp_pkg::MulCycles), product};
      acc_unit_pkg::OpInt: {done_o, y_o} = {start_i && cycle_q == 3'(acc_fp_pkg::ToIntCycles), whole};
      default:             {done_o, y_o} = {dividing_q && div_valid, quotient};
    endcase
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      cycle_q    <= '0;
      dividing_q <= 1'b0;
    end else begin
      cycle_q    <= start_i && !done_o && op_i != acc_unit_pkg::OpDiv ? cycle_q + 3'd1 : 3'd0;
      dividing_q <= start_i && op_i == acc_unit_pkg::OpDiv && !done_o;
    end
  end

`ifndef SYNTHESIS
  assert property (@(posedge clk_i) disable iff (!rst_ni)
                   start_i && op_i == acc_unit_pkg::OpDiv && !dividing_q |-> div_ready);
`endif
endmodule
`default_nettype wire
