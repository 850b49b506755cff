// The largest magnitude of a vector, as float bits without the sign: infinity and NaN stand above every number. A beat
// a cycle; the maximum has it two cycles later.
`default_nettype none
module acc_vec_max #(
  parameter int unsigned Lanes = 16  // a multiple of 4
) (
  input  logic                clk_i,
  input  logic                rst_ni,
  input  logic                clear_i,
  input  logic                valid_i,
  input  logic [Lanes*31-1:0] size_i,
  output logic                busy_o,  // a beat is on its way
  output logic [30:0]         max_o
);
  localparam int unsigned Quarters = Lanes / 4;
  logic [Quarters*31-1:0] quarter, quarter_q;
  logic [30:0]            max_q, max;
  logic                   valid_q;
  assign busy_o = valid_q;
  assign max_o  = max_q;

  for (genvar q = 0; q < Quarters; q++) begin : gen_quarter
    logic [30:0] a, b, c, d, low, high;
    assign {d, c, b, a} = size_i[q*4*31 +: 4*31];
    assign low  = b > a ? b : a;
    assign high = d > c ? d : c;
    assign quarter[q*31 +: 31] = high > low ? high : low;
  end
  always_comb begin
    max = max_q;
    for (int q = 0; q < Quarters; q++) if (quarter_q[q*31 +: 31] > max) max = quarter_q[q*31 +: 31];
  end

  always_ff @(posedge clk_i) begin
    quarter_q <= quarter;
    if (clear_i) max_q <= '0;
    else if (valid_q) max_q <= max;
    if (!rst_ni) valid_q <= 1'b0;
    else valid_q <= valid_i;
  end
endmodule
`default_nettype wire
