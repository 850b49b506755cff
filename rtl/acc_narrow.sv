// A word in Parts beats, the lowest part first, one a cycle; nothing holds them up.
`default_nettype none
module acc_narrow #(
  parameter int unsigned Width = 32,  // of a beat
  parameter int unsigned Parts = 1    // a power of two
) (
  input  logic                   clk_i,
  input  logic                   rst_ni,
  input  logic                   in_valid_i,
  output logic                   in_ready_o,
  input  logic [Parts*Width-1:0] in_data_i,
  output logic                   out_valid_o,
  output logic [Width-1:0]       out_data_o
);
  localparam int unsigned CountW = $clog2(Parts) + 2;
  logic [CountW-1:0]      left_q;  // beats
  logic [Parts*Width-1:0] word_q;
  assign in_ready_o  = left_q <= CountW'(1);
  assign out_valid_o = left_q != '0;
  assign out_data_o  = word_q[Width-1:0];

  always_ff @(posedge clk_i) begin
    if (in_valid_i && in_ready_o) word_q <= in_data_i;
    else word_q <= word_q >> Width;
    if (!rst_ni) left_q <= '0;
    else left_q <= in_valid_i && in_ready_o ? CountW'(Parts) : left_q - CountW'(left_q != '0);
  end
endmodule
`default_nettype wire
